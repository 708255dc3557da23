import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

/** Sends the records of standard input, and prints where each went. */
final class Produce {
    static void run(JsonNode spec) throws Exception {
        Properties properties = Driver.properties(spec);
        properties.put("compression.type", spec.get("compression").asText());
        if (!spec.get("idempotent").asBoolean()) { // else the defaults: acks=all, idempotent, five in flight
            properties.put("enable.idempotence", "false");
        }
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer())) {
            for (JsonNode record : Driver.input()) {
                ProducerRecord<String, String> out = new ProducerRecord<>(spec.get("topic").asText(),
                    record.get("partition").asInt(), record.get("timestamp").asLong(),
                    record.get("key").asText(), record.get("value").asText());
                record.path("headers").properties().forEach(header ->
                    out.headers().add(header.getKey(), header.getValue().asText().getBytes(StandardCharsets.UTF_8)));
                sent.add(producer.send(out));
            }
        }
        for (Future<RecordMetadata> each : sent) {
            RecordMetadata at = each.get();
            Driver.print(Driver.event("sent").put("partition", at.partition()).put("offset", at.offset()));
        }
    }
}
