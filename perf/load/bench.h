/* eagre-bench: one workload, one driver, one thread. What its files share.
 *
 *   bench.c      options, the ladder of rates        drivers.c          the table of drivers
 *   workload.c   the YAML file                       driver_*.c         one broker's protocol each
 *   bench_run.c  the schedule: what is due, when     verify.c           once and in order
 *   usage.c      CPU, memory, bytes of processes     result.c           JSON, lines for people
 *
 * Open loop: record k of a producer is due at begin + k / rate, whatever the broker does; its
 * latency counts from there, so a stall is seen by every record that should have been sent
 * meanwhile
 * ("coordinated omission" cannot hide it). Closed loop keeps in_flight batches under way and says
 * so in its result: its latencies are only those of requests that could be sent.
 *
 * Each value begins with a stamp (BENCH_STAMP_BYTES), by which consumers find latency, loss,
 * repetition and disorder. */
#ifndef EAGRE_PERF_LOAD_BENCH_H
#define EAGRE_PERF_LOAD_BENCH_H

#include "engine/base/bytes.h"
#include "perf/load/histogram.h"
#include "perf/load/process.h"

#define BENCH_STAMP_BYTES 16u
#define BENCH_NAME_MAX 128u
#define BENCH_WORD_MAX 24u
#define BENCH_CLIENTS_MAX 256u      /* producers and consumers together */
#define BENCH_PARTITIONS_MAX 65536u /* of all topics */
#define BENCH_RECORD_BYTES_MAX (UINT32_C(8) << 20)
#define BENCH_NO_KEY UINT64_MAX

enum size_kind { SIZE_FIXED, SIZE_UNIFORM };
enum key_kind { KEY_NONE, KEY_UNIFORM, KEY_ZIPF };

/* The fields are the keys of the YAML file; workload.c has their ranges. */
struct workload {
    char name[BENCH_NAME_MAX]; /* of the file, without its folder and ending */
    uint32_t topics;
    uint32_t partitions; /* of each topic */
    uint32_t producers;
    uint32_t consumers;
    uint32_t record_bytes;     /* of the value; SIZE_UNIFORM: the least */
    uint32_t record_bytes_max; /* SIZE_UNIFORM: the most */
    enum size_kind sizes;
    enum key_kind keys; /* one key per batch: it chooses the partition */
    uint32_t key_count;
    double zipf_exponent;
    uint32_t batch_records;          /* a batch is closed with so many records ... */
    double linger_ms;                /* ... or when its first was due so long ago */
    char codec[BENCH_WORD_MAX];      /* none, gzip, snappy, lz4, zstd */
    char durability[BENCH_WORD_MAX]; /* what the topic is told: device or memory */
    double rate;                     /* records per second of all producers; 0: closed loop */
    uint32_t in_flight;              /* batches of a producer without an answer, at most */
    double warmup_seconds;
    double seconds;
    uint64_t records; /* stop after so many, warm-up included; 0: by time */
};

/* Records [first_sequence, first_sequence + count) of a producer for a partition. Record i was due
 * at first_ns + i * step_ns. */
struct bench_batch {
    uint32_t producer;
    uint32_t partition; /* of all topics: topic * partitions + partition */
    uint32_t count;
    uint32_t first_sequence; /* within (producer, partition) */
    uint64_t key;            /* BENCH_NO_KEY: none */
    uint64_t first_ns;
    uint64_t step_ns;
};

/* What drivers tell. Borrowed for the call. */
struct bench_sink {
    void *ctx;
    void (*acked)(void *ctx, const struct bench_batch *batch, bool is_stored);
    void (*received)(void *ctx, uint32_t partition, const uint8_t *value, uint32_t value_bytes);
};

struct driver_config {
    const struct workload *workload;
    struct bench_sink sink;
    const char *address; /* HOST:PORT, or what the driver's own row says */
    const char *extra;   /* driver's own: a carrier, a vhost; "" none */
    const char *prefix;  /* of topic names */
};

/* What a connection waits for. */
struct driver_wait {
    int fd;             /* -1: it must be polled */
    short events;       /* of poll(2) */
    uint64_t within_ns; /* it wants to be polled by then; UINT64_MAX: no */
};

/* One broker's protocol. Connections are single-threaded and non-blocking. */
struct driver_ops {
    const char *name;  /* "kafka-raw" */
    const char *label; /* what a reader of the report must know of it, one line */
    /* Makes the topics. False: said on standard error. */
    bool (*prepare)(const struct driver_config *config);
    /* idx: of the producer, or of the consumer, which reads the partitions p with p % consumers ==
     * idx from the moment of its opening on. NULL: said on standard error. */
    void *(*open_producer)(const struct driver_config *config, uint32_t idx);
    void *(*open_consumer)(const struct driver_config *config, uint32_t idx);
    /* Takes a batch. False: not now. */
    bool (*send)(void *connection, const struct bench_batch *batch);
    /* Moves bytes; calls the sink. False: the connection is broken (said). */
    bool (*poll)(void *connection);
    struct driver_wait (*wait)(void *connection);
    void (*close)(void *connection);
};

/* drivers.c: by name; NULL: unknown. Rows of what is not built in say so in their label. */
const struct driver_ops *driver_find(const char *name);
void driver_list(void);

/* workload.c. False: the reason, with file and line, is on standard error. */
bool workload_read(const char *path, struct workload *ret);
/* "key=value" as in the file. */
bool workload_set(struct workload *workload, const char *assignment);
bool workload_check(const struct workload *workload);

/* Value bytes of a record, fixed by its place in the sequence. */
uint32_t bench_value_bytes(const struct workload *workload, uint32_t sequence);
/* Writes a value: stamp and filling. to: [bytes], bytes as bench_value_bytes() says. */
void bench_value(uint8_t *to, uint32_t bytes, const struct bench_batch *batch, uint32_t idx);
/* Of a value with a stamp: the record's place within (producer, partition). */
uint32_t bench_sequence(const uint8_t *value);
/* "prefix-3" into name. */
void bench_topic_name(const struct driver_config *config, uint32_t topic, char *name, size_t room);

/* verify.c: what consumers got, compared with what was sent. */
struct verify {
    uint32_t *expected; /* [producers][partitions]: next sequence */
    uint32_t producers;
    uint32_t partitions;
    uint64_t received;
    uint64_t lost;       /* skipped over, or missing at the end */
    uint64_t duplicates; /* of a sequence below the expected one */
    uint64_t foreign;    /* without our stamp */
};
bool verify_init(struct verify *verify, uint32_t producers, uint32_t partitions);
/* Returns when the record was due, or 0 when it is not to be counted. */
uint64_t
verify_take(struct verify *verify, uint32_t partition, const uint8_t *value, uint32_t value_bytes);
/* sent: [producers][partitions], the stored ones. */
void verify_end(struct verify *verify, const uint32_t *stored);

/* usage.c: sums over processes; what cannot be read is 0. */
struct usage {
    double cpu_s;
    uint64_t rss_bytes;     /* now */
    uint64_t switches;      /* voluntary and not */
    uint64_t written_bytes; /* to the block layer (proc(5), write_bytes) */
};
#define USAGE_PIDS_MAX 16u
struct usage usage_of(const int *pids, uint32_t count);
/* Stolen seconds of all CPUs since boot. */
double usage_stolen_s(void);

/* run.c */
struct bench_result {
    bool is_open_loop;
    double rate; /* asked for; 0: closed loop */
    double elapsed_s;
    uint64_t records;
    uint64_t batches;
    uint64_t bytes; /* of values */
    uint64_t failed;
    uint64_t failed_warm; /* before measuring: a broker may still look for its leaders */
    uint64_t
        late_batches; /* could not be handed over when due: the broker or this process is behind */
    struct histogram ack;        /* due -> acknowledged */
    struct histogram end_to_end; /* due -> received */
    struct verify verify;
    struct usage client;
    struct usage server;
    double stolen_s;
};
struct bench {
    struct workload workload;
    const struct driver_ops *driver;
    struct driver_config config;
    void **producers;
    void **consumers;
    int server_pids[USAGE_PIDS_MAX];
    uint32_t server_pid_count;
    bool shows_progress;
    bool is_broken;
    struct bench_run *run;
};
bool bench_open(struct bench *bench);
/* One run over open connections. ret: about 50 KiB. */
bool bench_run(struct bench *bench, struct bench_result *ret);
void bench_close(struct bench *bench);

/* result.c: one JSON object; steps of a ladder share everything but the results. */
bool result_write(const struct bench *bench,
                  const struct bench_result *results,
                  uint32_t count,
                  const char *path);
void result_print(const struct bench *bench, const struct bench_result *result);

#endif
