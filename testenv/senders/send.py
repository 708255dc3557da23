"""Sends a record for each line of its input (id, partition, key, value), and prints its outcome."""

import sys
import threading

from confluent_kafka import Producer


def main(brokers, topic):
    # Records never expire. When one does, librdkafka begins another epoch of its producer id, and
    # in that sends records again that the log may have: no broker can know them.
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, "message.timeout.ms": 0})
    ended = threading.Event()

    def poll():
        while not ended.is_set():
            producer.poll(0.05)

    def outcome(number):
        def report(error, message):
            text = f"{number} {message.offset()}" if error is None else f"{number} -1 {error}"
            print(text, flush=True)

        return report

    polling = threading.Thread(target=poll)
    polling.start()
    for line in sys.stdin:
        number, partition, key, value = line.rstrip("\n").split(" ", 3)
        while True:
            try:
                producer.produce(topic, value, key, int(partition), on_delivery=outcome(number))
                break
            except BufferError:
                producer.poll(0.05)
    ended.set()
    polling.join()
    producer.flush()


main(sys.argv[1], sys.argv[2])
