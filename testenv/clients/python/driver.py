"""A Kafka client (confluent-kafka, librdkafka). Its first argument is an operation, the second one (JSON) the details."""

import json
import sys
import threading

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   OffsetSpec, ResourceType)

TIMEOUT = 60  # seconds


def say(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def config(spec, **more):
    return {"bootstrap.servers": spec["bootstrap"], "client.id": spec["client"],
            **{name.replace("_", "."): value for name, value in more.items()}}


def check(error):
    if error:
        raise KafkaException(error)


def produce(spec):
    sent = []

    def acknowledged(number):
        def done(error, message):
            check(error)
            sent[number] = message
        return done

    producer = Producer(config(spec, compression_type=spec["compression"], enable_idempotence=spec["idempotent"],
                               linger_ms=5))
    for number, record in enumerate(map(json.loads, sys.stdin)):
        sent.append(None)
        producer.produce(spec["topic"], record["value"], record["key"], record["partition"],
                         on_delivery=acknowledged(number), timestamp=record["timestamp"],
                         headers=record.get("headers") or {})
        producer.poll(0)
    if producer.flush(TIMEOUT):
        raise TimeoutError("records are left unsent")
    for message in sent:
        say({"event": "sent", "partition": message.partition(), "offset": message.offset()})


def tell(message):
    say({"event": "record", "partition": message.partition(), "offset": message.offset(),
         "key": message.key().decode(), "value": message.value().decode(), "timestamp": message.timestamp()[1],
         "headers": {key: value.decode() for key, value in message.headers() or []}})


def consume(spec):
    consumer = Consumer(config(spec, group_id="unused", enable_auto_commit=False, auto_offset_reset="earliest"))
    start = [TopicPartition(spec["topic"], partition, 0) for partition in range(spec["partitions"])]
    if spec["since"] >= 0:
        times = [TopicPartition(p.topic, p.partition, spec["since"]) for p in start]
        start = consumer.offsets_for_times(times, TIMEOUT)
    consumer.assign(start)
    for _ in range(spec["count"]):
        message = None
        while message is None:
            message = consumer.poll(1)
        check(message.error())
        tell(message)
    consumer.close()


def member(spec):
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    cooperative = spec["strategy"] == "cooperative-sticky"
    has = set()

    def assigned(consumer, partitions):
        has.update(p.partition for p in partitions)
        (consumer.incremental_assign if cooperative else consumer.assign)(partitions)
        say({"event": "assigned", "partitions": sorted(has)})

    def revoked(consumer, partitions):
        has.difference_update(p.partition for p in partitions)
        if cooperative:
            consumer.incremental_unassign(partitions)
        else:
            consumer.unassign()
        say({"event": "revoked", "partitions": sorted(has)})

    options = {"session.timeout.ms": spec["session"], "heartbeat.interval.ms": 500}
    if spec["strategy"]:
        options["partition.assignment.strategy"] = spec["strategy"]
    if spec["instance"]:
        options["group.instance.id"] = spec["instance"]
    consumer = Consumer({**config(spec, group_id=spec["group"], enable_auto_commit=False,
                                  auto_offset_reset="earliest"), **options})
    consumer.subscribe([spec["topic"]], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
    while not ended.is_set():
        messages = consumer.consume(100, 0.1)
        for message in messages:
            check(message.error())
            tell(message)
        if messages:
            commit(consumer)
    consumer.close()


def commit(consumer):
    try:
        for partition in consumer.commit(asynchronous=False) or []:
            check(partition.error)
        say({"event": "committed"})
    except KafkaException as error:  # who gets the partitions reads the records again
        say({"event": "uncommitted", "error": str(error)})


def admin(spec):
    client = AdminClient(config(spec))
    for op in spec["ops"]:
        try:
            say({**OPS[op["op"]](client, op)} if op["op"] in OPS else {"unsupported": True})
        except KafkaException as error:
            say({"error": str(error)})


def one(futures):
    """The result of a call for one thing."""
    (future,) = futures.values()
    return future.result(TIMEOUT)


def topic(op):
    return ConfigResource(ResourceType.TOPIC, op["topic"])


def partition(op, *rest):
    return TopicPartition(op["topic"], op["partition"], *rest)


def nothing(_):
    return {}


def create_topic(client, op):
    return nothing(one(client.create_topics([NewTopic(op["topic"], op["partitions"], -1, config={op["name"]: op["value"]})])))


def describe_topic(client, op):
    found = client.list_topics(op["topic"], TIMEOUT).topics[op["topic"]]
    check(found.error)
    return {"partitions": len(found.partitions)}


def alter_config(client, op):
    resource = topic(op)
    resource.add_incremental_config(ConfigEntry(op["name"], op["value"], incremental_operation=AlterConfigOpType.SET))
    return nothing(one(client.incremental_alter_configs([resource])))


def describe_config(client, op):
    return {"value": one(client.describe_configs([topic(op)]))[op["name"]].value}


def list_offsets(client, op):
    if op["at"] == "earliest":
        at = OffsetSpec.earliest()
    elif op["at"] == "latest":
        at = OffsetSpec.latest()
    else:
        at = OffsetSpec.for_timestamp(int(op["at"]))
    return {"offset": one(client.list_offsets({partition(op): at})).offset}


def delete_records(client, op):
    return {"offset": one(client.delete_records([partition(op, op["offset"])])).low_watermark}


def list_groups(client, _):
    found = client.list_consumer_groups().result(TIMEOUT)
    for error in found.errors:
        check(error)
    return {"names": [group.group_id for group in found.valid]}


def describe_group(client, op):
    found = one(client.describe_consumer_groups([op["group"]]))
    return {"state": found.state.name,
            "members": {m.client_id: len(m.assignment.topic_partitions) for m in found.members}}


def group_offsets(client, op):
    found = one(client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(op["group"])]))
    for each in found.topic_partitions:
        check(each.error)
    return {"offsets": {str(each.partition): each.offset for each in found.topic_partitions}}


def set_group_offset(client, op):
    wanted = ConsumerGroupTopicPartitions(op["group"], [partition(op, op["offset"])])
    for each in one(client.alter_consumer_group_offsets([wanted])).topic_partitions:
        check(each.error)
    return {}


OPS = {
    "create-topic": create_topic,
    "describe-topic": describe_topic,
    "list-topics": lambda client, op: {"names": list(client.list_topics(timeout=TIMEOUT).topics)},
    "delete-topic": lambda client, op: nothing(one(client.delete_topics([op["topic"]]))),
    "alter-config": alter_config,
    "describe-config": describe_config,
    "create-partitions": lambda client, op: nothing(one(client.create_partitions(
        [NewPartitions(op["topic"], op["partitions"])]))),
    "list-offsets": list_offsets,
    "delete-records": delete_records,
    "list-groups": list_groups,
    "describe-group": describe_group,
    "group-offsets": group_offsets,
    "set-group-offset": set_group_offset,
    "delete-group": lambda client, op: nothing(one(client.delete_consumer_groups([op["group"]]))),
}

if __name__ == "__main__":
    {"produce": produce, "consume": consume, "member": member, "admin": admin}[sys.argv[1]](json.loads(sys.argv[2]))
