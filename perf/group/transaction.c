/* Small transactions: each connection has a transactional id of its own and goes round
 * AddPartitionsToTxn, Produce of one record, EndTxn. One request under way per connection. */
#include "perf/group/group_load.h"

#include "engine/record/record_builder.h"

#include <stdio.h>
#include <stdlib.h>

#define INIT_VERSION 1
#define ADD_VERSION 2
#define PRODUCE_VERSION 8
#define END_VERSION 2
#define ERROR_COORDINATOR_LOADING 14
#define ERROR_COORDINATOR_NOT_AVAILABLE 15
#define ERROR_CONCURRENT_TRANSACTIONS 51
#define RETRY_NS (200 * NS_PER_US) /* the former transaction is still being ended */

enum writer_step { WRITER_INIT, WRITER_ADD, WRITER_PRODUCE, WRITER_END };

struct txn_writer {
    enum writer_step step;
    int64_t producer_id;
    int16_t epoch;
    int32_t sequence;
    uint64_t begin_ns;
    uint64_t retry_ns; /* 0: a request is under way */
};

struct txn_load {
    struct group_load *load;
    struct txn_writer *writers; /* [connections] */
    uint64_t committed;
    uint64_t retries;
};

static struct bytes
text_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

static void
writer_request(struct txn_load *txn, uint32_t idx, enum kafka_api_key key, const void *message)
{
    const struct peer_awaited request = {
        .sent_ns = process_now_ns(),
        .who = idx,
        .api_key = key,
        .version = key == KAFKA_INIT_PRODUCER_ID        ? INIT_VERSION
                   : key == KAFKA_ADD_PARTITIONS_TO_TXN ? ADD_VERSION
                   : key == KAFKA_PRODUCE               ? PRODUCE_VERSION
                                                        : END_VERSION,
    };

    peer_request(&txn->load->peers, idx, &request, message);
}

static void
writer_init(struct txn_load *txn, uint32_t idx, struct bytes id)
{
    struct kafka_init_producer_id_request request;

    kafka_init_producer_id_request_defaults(&request);
    request.transactional_id = id;
    request.transaction_timeout_ms = 60000;
    writer_request(txn, idx, KAFKA_INIT_PRODUCER_ID, &request);
}

static void
writer_add(struct txn_load *txn, uint32_t idx, struct bytes id)
{
    const struct txn_writer *writer = &txn->writers[idx];
    const int32_t partition = (int32_t)(idx % txn->load->options.partitions);
    struct kafka_add_partitions_to_txn_request_topic topic;
    struct kafka_add_partitions_to_txn_request request;

    kafka_add_partitions_to_txn_request_topic_defaults(&topic);
    kafka_add_partitions_to_txn_request_defaults(&request);
    topic.name = text_of(txn->load->options.topic);
    topic.partitions.at = &partition;
    topic.partitions.count = 1;
    request.v3_and_below_transactional_id = id;
    request.v3_and_below_producer_id = writer->producer_id;
    request.v3_and_below_producer_epoch = writer->epoch;
    request.v3_and_below_topics.at = &topic;
    request.v3_and_below_topics.count = 1;
    writer_request(txn, idx, KAFKA_ADD_PARTITIONS_TO_TXN, &request);
}

static void
writer_produce(struct txn_load *txn, uint32_t idx, struct bytes id)
{
    static const uint8_t value[100] = {'v'};
    const struct txn_writer *writer = &txn->writers[idx];
    const struct record_builder_options options = {
        .producer_id = writer->producer_id,
        .producer_epoch = writer->epoch,
        .base_sequence = writer->sequence,
        .leader_epoch = -1,
        .attributes = RECORD_ATTRIBUTES_TRANSACTIONAL,
    };
    const struct record record = {.timestamp_ms = 1700000000000, .value = {value, sizeof(value)}};
    struct kafka_produce_request_partition partition;
    struct kafka_produce_request_topic topic;
    struct kafka_produce_request request;
    struct record_builder builder;
    uint8_t batch[512];

    record_builder_begin(&builder, batch, sizeof(batch), &options);
    if (!record_builder_add(&builder, &record))
        exit(2);
    kafka_produce_request_partition_defaults(&partition);
    kafka_produce_request_topic_defaults(&topic);
    kafka_produce_request_defaults(&request);
    partition.index = (int32_t)(idx % txn->load->options.partitions);
    partition.records = (struct bytes){batch, record_builder_finish(&builder)};
    topic.name = text_of(txn->load->options.topic);
    topic.partitions.at = &partition;
    topic.partitions.count = 1;
    request.transactional_id = id;
    request.acks = -1;
    request.timeout_ms = 30000;
    request.topics.at = &topic;
    request.topics.count = 1;
    writer_request(txn, idx, KAFKA_PRODUCE, &request);
}

static void
writer_end(struct txn_load *txn, uint32_t idx, struct bytes id)
{
    const struct txn_writer *writer = &txn->writers[idx];
    struct kafka_end_txn_request request;

    kafka_end_txn_request_defaults(&request);
    request.transactional_id = id;
    request.producer_id = writer->producer_id;
    request.producer_epoch = writer->epoch;
    request.committed = true;
    writer_request(txn, idx, KAFKA_END_TXN, &request);
}

static void
writer_go(struct txn_load *txn, uint32_t idx)
{
    struct txn_writer *writer = &txn->writers[idx];
    char name[64];

    snprintf(name, sizeof(name), "load-transaction-%u", idx);
    writer->retry_ns = 0;
    switch (writer->step) {
    case WRITER_INIT:
        writer_init(txn, idx, text_of(name));
        break;
    case WRITER_ADD:
        if (writer->begin_ns == 0)
            writer->begin_ns = process_now_ns();
        writer_add(txn, idx, text_of(name));
        break;
    case WRITER_PRODUCE:
        writer_produce(txn, idx, text_of(name));
        break;
    case WRITER_END:
        writer_end(txn, idx, text_of(name));
        break;
    }
}

/* Error of an answer; also takes what it brings. */
static int16_t
writer_hear(struct txn_writer *writer, const struct peer_answer *answer)
{
    const struct kafka_init_producer_id_response *identified = answer->message;
    const struct kafka_add_partitions_to_txn_response *added = answer->message;
    const struct kafka_produce_response *produced = answer->message;
    const struct kafka_end_txn_response *ended = answer->message;

    switch (writer->step) {
    case WRITER_INIT:
        writer->producer_id = identified->producer_id;
        writer->epoch = identified->producer_epoch;
        return identified->error;
    case WRITER_ADD:
        return added->results_by_topic_v3_and_below.count == 1 &&
                       added->results_by_topic_v3_and_below.at[0].results_by_partition.count == 1
                   ? added->results_by_topic_v3_and_below.at[0]
                         .results_by_partition.at[0]
                         .partition_error_code
                   : -1;
    case WRITER_PRODUCE:
        return produced->topics.count == 1 && produced->topics.at[0].partitions.count == 1
                   ? produced->topics.at[0].partitions.at[0].error
                   : -1;
    default:
        return ended->error;
    }
}

static void
transaction_answered(void *ctx, const struct peer_answer *answer)
{
    struct txn_load *txn = ctx;
    struct txn_writer *writer = &txn->writers[answer->who];
    int16_t error = writer_hear(writer, answer);

    if (error == ERROR_CONCURRENT_TRANSACTIONS || error == ERROR_COORDINATOR_LOADING ||
        error == ERROR_COORDINATOR_NOT_AVAILABLE) {
        txn->retries++;
        writer->retry_ns = answer->now_ns + RETRY_NS;
        return;
    }
    if (error != 0) {
        group_load_error(txn->load, error);
        txn->load->peers.is_broken = true;
        return;
    }
    if (writer->step == WRITER_PRODUCE)
        writer->sequence++;
    if (writer->step == WRITER_END && txn->load->is_measuring) {
        txn->committed++;
        histogram_add(&txn->load->latency, answer->now_ns - writer->begin_ns);
    }
    if (writer->step == WRITER_END)
        writer->begin_ns = 0;
    writer->step = writer->step == WRITER_END ? WRITER_ADD : writer->step + 1;
    writer_go(txn, answer->who);
}

static void
transaction_retries(struct txn_load *txn, uint64_t now_ns)
{
    for (uint32_t i = 0; i < txn->load->options.connections; i++)
        if (txn->writers[i].retry_ns != 0 && now_ns >= txn->writers[i].retry_ns)
            writer_go(txn, i);
}

int
mode_transaction(struct group_load *load)
{
    const struct group_options *options = &load->options;
    struct txn_load txn = {.load = load};
    uint64_t begin_ns = process_now_ns() + (uint64_t)(options->warmup_seconds * 1e9);
    uint64_t end_ns = begin_ns + (uint64_t)(options->seconds * 1e9);
    double server_cpu_s = 0;
    uint64_t now_ns;

    txn.writers = calloc(options->connections, sizeof(*txn.writers));
    load->peers.ctx = &txn;
    load->peers.answered = transaction_answered;
    if (txn.writers == NULL || !peers_open(&load->peers, options, options->connections))
        return 1;
    for (uint32_t i = 0; i < options->connections; i++)
        writer_go(&txn, i);
    while ((now_ns = process_now_ns()) < end_ns && !load->peers.is_broken) {
        if (!load->is_measuring && now_ns >= begin_ns) {
            load->is_measuring = true;
            begin_ns = now_ns;
            server_cpu_s = process_cpu_s(options->server_pid);
        }
        transaction_retries(&txn, now_ns);
        peers_poll(&load->peers, txn.retries > 0 ? 0 : 1);
    }
    double elapsed_s = (double)(now_ns - begin_ns) / 1e9;
    server_cpu_s = process_cpu_s(options->server_pid) - server_cpu_s;
    printf(options->json ? "{\"mode\":\"transaction\",\"connections\":%u,\"commits_per_s\":%.0f,"
                           "\"server_cores\":%.4f,\"p50_us\":%.0f,\"p99_us\":%.0f,\"retries\":%lu,"
                           "\"errors\":%lu,\"first_error\":%d}\n"
                         : "%u transactional ids: %.0f transactions/s of one record, server %.4f "
                           "cores, p50 %.0f us, p99 %.0f us, %lu retries, %lu errors (%d)\n",
           options->connections,
           (double)txn.committed / elapsed_s,
           server_cpu_s / elapsed_s,
           (double)histogram_quantile(&load->latency, 0.5) / 1e3,
           (double)histogram_quantile(&load->latency, 0.99) / 1e3,
           txn.retries,
           load->errors,
           load->first_error);
    free(txn.writers);
    return load->errors > 0 || load->peers.is_broken;
}
