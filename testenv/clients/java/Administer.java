import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ConsumerGroupListing;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** Does a list of operations, and prints the result of each. */
final class Administer {
    private final Admin admin;
    private final JsonNode op;
    private final ObjectNode result = Driver.JSON.createObjectNode();

    private Administer(Admin admin, JsonNode op) {
        this.admin = admin;
        this.op = op;
    }

    static void run(JsonNode spec) throws Exception {
        try (Admin admin = Admin.create(Driver.properties(spec))) {
            for (JsonNode op : spec.get("ops")) {
                Administer one = new Administer(admin, op);
                try {
                    one.apply();
                } catch (ExecutionException e) {
                    one.result.put("error", e.getCause().toString());
                }
                Driver.print(one.result);
            }
        }
    }

    private String text(String name) {
        return op.get(name).asText();
    }

    private TopicPartition partition() {
        return new TopicPartition(text("topic"), op.get("partition").asInt());
    }

    private void apply() throws Exception {
        switch (text("op")) {
            case "create-topic":
                admin.createTopics(List.of(new NewTopic(text("topic"), Optional.of(op.get("partitions").asInt()), Optional.empty())
                    .configs(Map.of(text("name"), text("value"))))).all().get();
                break;
            case "describe-topic":
                result.put("partitions", admin.describeTopics(List.of(text("topic"))).allTopicNames().get()
                    .get(text("topic")).partitions().size());
                break;
            case "list-topics":
                ArrayNode topics = result.putArray("names");
                admin.listTopics().names().get().forEach(topics::add);
                break;
            case "delete-topic": admin.deleteTopics(List.of(text("topic"))).all().get(); break;
            case "alter-config":
                admin.incrementalAlterConfigs(Map.of(topic(), List.of(new AlterConfigOp(
                    new ConfigEntry(text("name"), text("value")), AlterConfigOp.OpType.SET)))).all().get();
                break;
            case "describe-config":
                result.put("value", admin.describeConfigs(List.of(topic())).all().get().get(topic())
                    .get(text("name")).value());
                break;
            case "create-partitions":
                admin.createPartitions(Map.of(text("topic"), NewPartitions.increaseTo(op.get("partitions").asInt())))
                    .all().get();
                break;
            case "delete-records":
                result.put("offset", admin.deleteRecords(Map.of(partition(),
                    RecordsToDelete.beforeOffset(op.get("offset").asLong()))).lowWatermarks().get(partition()).get()
                    .lowWatermark());
                break;
            case "list-offsets":
                result.put("offset", admin.listOffsets(Map.of(partition(), at())).partitionResult(partition()).get().offset());
                break;
            default: groups();
        }
    }

    private ConfigResource topic() {
        return new ConfigResource(ConfigResource.Type.TOPIC, text("topic"));
    }

    private OffsetSpec at() {
        switch (text("at")) {
            case "earliest": return OffsetSpec.earliest();
            case "latest": return OffsetSpec.latest();
            default: return OffsetSpec.forTimestamp(Long.parseLong(text("at")));
        }
    }

    @SuppressWarnings("deprecation") // its replacement is not in 3.6
    private void groups() throws Exception {
        String group = op.path("group").asText();
        switch (text("op")) {
            case "list-groups":
                ArrayNode groups = result.putArray("names");
                for (ConsumerGroupListing listing : admin.listConsumerGroups().all().get()) {
                    groups.add(listing.groupId());
                }
                break;
            case "describe-group":
                ConsumerGroupDescription found = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
                result.put("state", found.state().toString());
                ObjectNode members = result.putObject("members");
                for (MemberDescription member : found.members()) {
                    members.put(member.clientId(), member.assignment().topicPartitions().size());
                }
                break;
            case "group-offsets":
                ObjectNode offsets = result.putObject("offsets");
                admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get()
                    .forEach((partition, at) -> offsets.put("" + partition.partition(), at.offset()));
                break;
            case "set-group-offset":
                Map<TopicPartition, OffsetAndMetadata> wanted = new HashMap<>();
                wanted.put(partition(), new OffsetAndMetadata(op.get("offset").asLong()));
                admin.alterConsumerGroupOffsets(group, wanted).all().get();
                break;
            case "delete-group": admin.deleteConsumerGroups(List.of(group)).all().get(); break;
            default: throw new IllegalArgumentException(text("op"));
        }
    }
}
