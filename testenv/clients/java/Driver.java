import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.Header;

/** A Kafka client. Its first argument is an operation, the second one (JSON) the details. */
public final class Driver {
    static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        JsonNode spec = JSON.readTree(args[1]);
        switch (args[0]) {
            case "produce": Produce.run(spec); break;
            case "consume": Consume.run(spec); break;
            case "member": Member.run(spec); break;
            case "admin": Administer.run(spec); break;
            default: throw new IllegalArgumentException(args[0]);
        }
    }

    static Properties properties(JsonNode spec) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", spec.get("bootstrap").asText());
        properties.put("client.id", spec.get("client").asText());
        return properties;
    }

    /** Standard input, one value a line. */
    static List<JsonNode> input() throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        List<JsonNode> values = new ArrayList<>();
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            values.add(JSON.readTree(line));
        }
        return values;
    }

    static synchronized void print(JsonNode value) throws Exception {
        System.out.write((JSON.writeValueAsString(value) + "\n").getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }

    static ObjectNode event(String name) {
        return JSON.createObjectNode().put("event", name);
    }

    static ObjectNode record(ConsumerRecord<String, String> record) {
        ObjectNode value = event("record").put("partition", record.partition()).put("offset", record.offset())
            .put("key", record.key()).put("value", record.value()).put("timestamp", record.timestamp());
        ObjectNode headers = value.putObject("headers");
        for (Header header : record.headers()) {
            headers.put(header.key(), new String(header.value(), StandardCharsets.UTF_8));
        }
        return value;
    }
}
