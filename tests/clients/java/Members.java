/* Producers and consumers in Java, told what to do by lines of JSON, telling what they see by lines of JSON.
 *
 *   {"do": "join", "name": n, "topic": t, "config": {...}}   a member that reads, tells and commits every poll, in a thread of its own
 *   {"do": "leave", "name": n}                               it closes its consumer
 *   {"do": "produce", "topic": t, "from": n, "count": n, "partitions": n, "config": {...}}
 *   {"do": "transactions", "topics": [t], "transactions": [{"from": n, "count": n, "commit": b}], "config": {...}}
 *   {"do": "transform", "name": n, "from": t, "to": t, "config": {...}, "id": transactional id}
 *                                                            a member that copies records and its place in one transaction per poll
 *   {"do": "read", "topic": t, "config": {...}}              every record from the beginning to the end
 *
 * Each answer carries "of", the name or what was to be done. An error is {"of": .., "error": text}. */

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Members {
    static final ObjectMapper json = new ObjectMapper();
    static final Duration POLL = Duration.ofMillis(200);
    static final Map<String, Member> members = new HashMap<>();

    static synchronized void tell(String of, String what, Object value) {
        ObjectNode line = json.createObjectNode();
        line.put("of", of);
        line.set(what, json.valueToTree(value));
        System.out.println(line);
        System.out.flush();
    }

    static Properties properties(JsonNode request) {
        Properties found = new Properties();
        request.get("config").fields().forEachRemaining(entry -> found.put(entry.getKey(), entry.getValue().asText()));
        return found;
    }

    static KafkaConsumer<String, String> consumer(JsonNode request) {
        return new KafkaConsumer<>(properties(request), new StringDeserializer(), new StringDeserializer());
    }

    static KafkaProducer<String, String> producer(Properties config) {
        return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
    }

    /* ---- members of a group */

    static class Member extends Thread implements ConsumerRebalanceListener {
        final String name;
        final JsonNode request;
        final TreeSet<Integer> assigned = new TreeSet<>();
        volatile boolean stopped = false;
        KafkaProducer<String, String> producer = null;

        Member(JsonNode request) {
            this.name = request.get("name").asText();
            this.request = request;
            setDaemon(true);
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            partitions.forEach(partition -> assigned.add(partition.partition()));
            tell(name, "assigned", assigned);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            partitions.forEach(partition -> assigned.remove(partition.partition()));
            tell(name, "revoked", assigned);
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            partitions.forEach(partition -> assigned.remove(partition.partition()));
            tell(name, "lost", assigned);
        }

        void handle(KafkaConsumer<String, String> reader, ConsumerRecords<String, String> records) {
            ArrayNode values = json.createArrayNode();
            records.forEach(record -> values.add(Integer.parseInt(record.value())));
            if (producer == null) {
                tell(name, "read", values);
                reader.commitSync();
                return;
            }
            Map<TopicPartition, OffsetAndMetadata> places = new HashMap<>();
            try {
                producer.beginTransaction();
                for (ConsumerRecord<String, String> record : records) {
                    producer.send(new ProducerRecord<>(request.get("to").asText(), record.partition(), record.key(), record.value()));
                    places.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
                }
                producer.sendOffsetsToTransaction(places, reader.groupMetadata());
                producer.commitTransaction();
            } catch (KafkaException error) {
                tell(name, "again", error.toString());
                producer.abortTransaction();
                /* Back to what the group knows. */
                reader.committed(reader.assignment()).forEach((partition, place) -> reader.seek(partition, place == null ? 0 : place.offset()));
            }
        }

        @Override
        public void run() {
            try (KafkaConsumer<String, String> reader = consumer(request)) {
                if (request.has("id")) {
                    Properties config = new Properties();
                    config.put("bootstrap.servers", request.get("config").get("bootstrap.servers").asText());
                    config.put("transactional.id", request.get("id").asText());
                    config.put("transaction.timeout.ms", "10000"); // what one that was killed holds up its readers
                    producer = producer(config);
                    producer.initTransactions();
                }
                reader.subscribe(List.of(request.get(request.has("id") ? "from" : "topic").asText()), this);
                while (!stopped) {
                    ConsumerRecords<String, String> records = reader.poll(POLL);
                    if (records.isEmpty())
                        continue;
                    try {
                        handle(reader, records);
                    } catch (KafkaException error) {
                        tell(name, "uncommitted", error.toString());
                    }
                }
                if (producer != null)
                    producer.close();
            } catch (Exception error) {
                tell(name, "error", error.toString());
            }
            tell(name, "left", true);
        }
    }

    /* ---- producers and readers */

    static void produce(JsonNode request) throws Exception {
        int from = request.get("from").asInt();
        int partitions = request.get("partitions").asInt();
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        List<List<Long>> offsets = new ArrayList<>();

        for (int i = 0; i < partitions; i++)
            offsets.add(new ArrayList<>());
        try (KafkaProducer<String, String> producer = producer(properties(request))) {
            for (int i = from; i < from + request.get("count").asInt(); i++)
                sent.add(producer.send(new ProducerRecord<>(request.get("topic").asText(), i % partitions, "k" + i, "" + i)));
            for (Future<RecordMetadata> done : sent)
                offsets.get(done.get().partition()).add(done.get().offset());
        }
        tell("produce", "offsets", offsets);
    }

    static void transactions(JsonNode request) throws Exception {
        try (KafkaProducer<String, String> producer = producer(properties(request))) {
            producer.initTransactions();
            for (JsonNode one : request.get("transactions")) {
                producer.beginTransaction();
                for (int i = 0; i < one.get("count").asInt(); i++) {
                    int number = one.get("from").asInt() + i;
                    for (JsonNode topic : request.get("topics"))
                        producer.send(new ProducerRecord<>(topic.asText(), "k" + number, "" + number));
                }
                if (one.get("commit").asBoolean()) {
                    producer.commitTransaction();
                } else {
                    producer.flush();
                    producer.abortTransaction();
                }
            }
        }
        tell("transactions", "done", request.get("transactions").size());
    }

    static void read(JsonNode request) {
        List<List<Object>> found = new ArrayList<>();

        try (KafkaConsumer<String, String> reader = consumer(request)) {
            List<TopicPartition> partitions = new ArrayList<>();
            reader.partitionsFor(request.get("topic").asText()).forEach(info -> partitions.add(new TopicPartition(info.topic(), info.partition())));
            reader.assign(partitions);
            reader.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = reader.endOffsets(partitions);
            long deadline = System.nanoTime() + 30_000_000_000L;
            while (partitions.stream().anyMatch(partition -> reader.position(partition) < ends.get(partition)) && System.nanoTime() < deadline)
                reader.poll(POLL).forEach(record -> found.add(new ArrayList<>(java.util.Arrays.asList(
                    record.partition(), record.offset(), record.key(), record.value()))));
        }
        tell("read", "records", found);
    }

    static void act(JsonNode request) throws Exception {
        switch (request.get("do").asText()) {
        case "join":
        case "transform":
            Member member = new Member(request);
            members.put(member.name, member);
            member.start();
            break;
        case "leave":
            members.get(request.get("name").asText()).stopped = true;
            break;
        case "produce":
            produce(request);
            break;
        case "transactions":
            transactions(request);
            break;
        case "read":
            read(request);
            break;
        default:
            throw new IllegalArgumentException(request.toString());
        }
    }

    public static void main(String[] ignored) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode request = json.readTree(line);
            try {
                act(request);
            } catch (Exception error) {
                tell(request.get("do").asText(), "error", error.toString());
            }
        }
        Runtime.getRuntime().halt(0);
    }
}
