import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.common.serialization.StringDeserializer;

/** A member of a group, until standard input ends: it prints each record, then commits. */
final class Member implements ConsumerRebalanceListener {
    private static final Map<String, String> ASSIGNORS = Map.of(
        "range", "org.apache.kafka.clients.consumer.RangeAssignor",
        "roundrobin", "org.apache.kafka.clients.consumer.RoundRobinAssignor",
        "sticky", "org.apache.kafka.clients.consumer.StickyAssignor",
        "cooperative-sticky", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");

    private final Set<Integer> assigned = new TreeSet<>();

    static void run(JsonNode spec) throws Exception {
        Properties properties = Driver.properties(spec);
        properties.put("group.id", spec.get("group").asText());
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        properties.put("session.timeout.ms", spec.get("session").asText());
        properties.put("heartbeat.interval.ms", "500");
        if (!spec.get("strategy").asText().isEmpty()) {
            properties.put("partition.assignment.strategy", ASSIGNORS.get(spec.get("strategy").asText()));
        }
        if (!spec.get("instance").asText().isEmpty()) {
            properties.put("group.instance.id", spec.get("instance").asText());
        }
        Thread input = new Thread(() -> {
            try {
                Driver.input();
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
        input.start();
        try (KafkaConsumer<String, String> consumer =
                new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(spec.get("topic").asText()), new Member());
            while (input.isAlive()) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                for (ConsumerRecord<String, String> record : records) {
                    Driver.print(Driver.record(record));
                }
                if (!records.isEmpty()) {
                    commit(consumer);
                }
            }
        }
    }

    private static void commit(KafkaConsumer<String, String> consumer) throws Exception {
        try {
            consumer.commitSync();
            Driver.print(Driver.event("committed"));
        } catch (RebalanceInProgressException | CommitFailedException e) { // who gets the partitions reads them again
            Driver.print(Driver.event("uncommitted").put("error", e.toString()));
        }
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        partitions.forEach(partition -> assigned.add(partition.partition()));
        tell("assigned");
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        partitions.forEach(partition -> assigned.remove(partition.partition()));
        tell("revoked");
    }

    private void tell(String name) {
        ObjectNode event = Driver.event(name);
        ArrayNode list = event.putArray("partitions");
        assigned.forEach(list::add);
        try {
            Driver.print(event);
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }
}
