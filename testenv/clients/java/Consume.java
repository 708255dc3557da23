import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Reads a number of records from the beginning or from a timestamp, without a group. */
final class Consume {
    static void run(JsonNode spec) throws Exception {
        try (KafkaConsumer<String, String> consumer =
                new KafkaConsumer<>(Driver.properties(spec), new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (int partition = 0; partition < spec.get("partitions").asInt(); partition++) {
                partitions.add(new TopicPartition(spec.get("topic").asText(), partition));
            }
            consumer.assign(partitions);
            seek(consumer, partitions, spec.get("since").asLong());
            for (int left = spec.get("count").asInt(); left > 0;) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(500))) {
                    Driver.print(Driver.record(record));
                    left--;
                }
            }
        }
    }

    private static void seek(KafkaConsumer<String, String> consumer, List<TopicPartition> partitions, long since) {
        if (since < 0) {
            consumer.seekToBeginning(partitions);
            return;
        }
        Map<TopicPartition, Long> times = new HashMap<>();
        partitions.forEach(partition -> times.put(partition, since));
        for (Map.Entry<TopicPartition, OffsetAndTimestamp> found : consumer.offsetsForTimes(times).entrySet()) {
            if (found.getValue() == null) {
                consumer.seekToEnd(List.of(found.getKey()));
            } else {
                consumer.seek(found.getKey(), found.getValue().offset());
            }
        }
    }
}
