import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Sends a record for each line of its input (id, partition, key, value), and prints its outcome. */
public final class Send {
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]); // else the defaults: acks=all, idempotent, five in flight
        properties.put("delivery.timeout.ms", String.valueOf(Integer.MAX_VALUE)); // as send.py: records never expire
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer())) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                String[] fields = line.split(" ", 4);
                producer.send(new ProducerRecord<>(args[1], Integer.valueOf(fields[1]), fields[2], fields[3]),
                    (at, error) -> out.println(fields[0] + " " + (error == null ? at.offset() : "-1 " + error)));
            }
        }
    }
}
