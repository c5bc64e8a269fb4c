/* NATS JetStream through libnats: one file stream per topic, one subject per partition; producers
 * publish asynchronously, consumers are ordered push consumers from "new" on. The library calls
 * back on threads of its own, while a connection of the bench has one thread: what comes back is
 * left in a handover, whose eventfd wakes the bench. What an acknowledgement means is the server's
 * sync_interval (perf/compare). */
#include "perf/load/drivers.h"

#include <nats/nats.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NATS_WAIT_MS 10000
#define NATS_HELD_MAX 65536u /* messages of a consumer that were not looked at yet */
#define NATS_SUBJECT_MAX (BENCH_NAME_MAX + 16)

/* What a thread of the library leaves: a message, and whether the broker has taken it. */
struct nats_note {
    natsMsg *message;
    bool is_good;
};

/* Two arrays change places: the library's threads fill one while the bench empties the other. A
 * full one makes the library wait, as a slow reader should. */
struct nats_handover {
    pthread_mutex_t lock;
    pthread_cond_t has_room;
    struct nats_note *filling; /* [room] */
    struct nats_note *taken;   /* [room] */
    uint32_t room;
    uint32_t count;
    bool is_closing;
    int fd;
};

struct nats_batch {
    struct bench_batch batch;
    uint32_t left; /* records without an answer; 0: a free place */
    bool has_failed;
};

struct nats {
    const struct driver_config *config;
    natsConnection *connection;
    jsCtx *stream;
    struct nats_handover handover;
    /* producer: answers of a stream come in its order, so the search begins at the oldest */
    struct nats_batch *under_way; /* FIFO ring [in_flight] */
    uint32_t first;
    uint32_t count;
    uint32_t handed; /* records of the newest batch that were published */
    bool is_handing;
    uint8_t *value;
    /* consumer */
    natsSubscription **subscriptions; /* [subscription_count] */
    uint32_t subscription_count;
};

static bool
nats_failed(const char *what, natsStatus status)
{
    fprintf(stderr, "bench: nats: %s: %s\n", what, natsStatus_GetText(status));
    return false;
}

/* ---- the handover */

static bool
handover_init(struct nats_handover *handover, uint32_t room)
{
    handover->room = room;
    handover->filling = calloc(room, sizeof(*handover->filling));
    handover->taken = calloc(room, sizeof(*handover->taken));
    handover->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return handover->filling != NULL && handover->taken != NULL && handover->fd >= 0;
}

/* Runs on: a thread of the library. Blocks: while the bench is behind. */
static void
handover_put(struct nats_handover *handover, struct nats_note note)
{
    const uint64_t one = 1;

    pthread_mutex_lock(&handover->lock);
    while (handover->count == handover->room && !handover->is_closing)
        pthread_cond_wait(&handover->has_room, &handover->lock);
    bool is_kept = !handover->is_closing;
    bool is_first = handover->count == 0;
    if (is_kept)
        handover->filling[handover->count++] = note;
    pthread_mutex_unlock(&handover->lock);
    if (!is_kept)
        natsMsg_Destroy(note.message);
    else if (is_first)
        (void)!write(handover->fd, &one, sizeof(one));
}

/* What has come since, in ->taken. Runs on: the bench. */
static uint32_t
handover_take(struct nats_handover *handover)
{
    uint64_t told;

    (void)!read(handover->fd, &told, sizeof(told));
    pthread_mutex_lock(&handover->lock);
    struct nats_note *filled = handover->filling;
    uint32_t count = handover->count;
    handover->filling = handover->taken;
    handover->taken = filled;
    handover->count = 0;
    pthread_cond_broadcast(&handover->has_room);
    pthread_mutex_unlock(&handover->lock);
    return count;
}

/* From now on the library's threads never wait; to be called before they are joined. */
static void
handover_close(struct nats_handover *handover)
{
    pthread_mutex_lock(&handover->lock);
    handover->is_closing = true;
    pthread_cond_broadcast(&handover->has_room);
    pthread_mutex_unlock(&handover->lock);
}

static void
handover_fini(struct nats_handover *handover)
{
    for (uint32_t i = 0; i < handover->count; i++)
        natsMsg_Destroy(handover->filling[i].message);
    free(handover->filling);
    free(handover->taken);
    if (handover->fd >= 0)
        close(handover->fd);
}

/* ---- opening and closing */

static void
nats_driver_close(void *connection)
{
    struct nats *nats = connection;

    if (nats == NULL)
        return;
    handover_close(&nats->handover);
    for (uint32_t i = 0; i < nats->subscription_count; i++) {
        (void)natsSubscription_Unsubscribe(nats->subscriptions[i]);
        natsSubscription_Destroy(nats->subscriptions[i]);
    }
    jsCtx_Destroy(nats->stream);
    natsConnection_Destroy(nats->connection);
    handover_fini(&nats->handover);
    free(nats->subscriptions);
    free(nats->under_way);
    free(nats->value);
    free(nats);
}

/* Runs on: a thread of the library, for each publication. The message is ours from here on. */
static void
nats_published(jsCtx *stream, natsMsg *message, jsPubAck *ack, jsPubAckErr *trouble, void *closure)
{
    (void)stream;
    (void)trouble;
    handover_put(closure, (struct nats_note){.message = message, .is_good = ack != NULL});
}

/* Runs on: a thread of the library. */
static void
nats_delivered(natsConnection *connection,
               natsSubscription *subscription,
               natsMsg *message,
               void *closure)
{
    (void)connection;
    (void)subscription;
    handover_put(closure, (struct nats_note){.message = message, .is_good = true});
}

static natsStatus
nats_connect(struct nats *nats)
{
    natsOptions *options = NULL;
    char url[512];
    natsStatus status = natsOptions_Create(&options);

    snprintf(url, sizeof(url), "nats://%s", nats->config->address);
    if (status == NATS_OK)
        status = natsOptions_SetURL(options, url);
    if (status == NATS_OK)
        status = natsOptions_SetAllowReconnect(options, false);
    if (status == NATS_OK)
        status = natsConnection_Connect(&nats->connection, options);
    natsOptions_Destroy(options);
    return status;
}

/* room: records that may come back before the bench looks. */
static struct nats *
nats_driver_open(const struct driver_config *config, uint32_t room)
{
    struct nats *nats = calloc(1, sizeof(*nats));
    jsOptions options;

    if (nats == NULL)
        return NULL;
    nats->config = config;
    nats->handover = (struct nats_handover){.lock = PTHREAD_MUTEX_INITIALIZER,
                                            .has_room = PTHREAD_COND_INITIALIZER};
    bool is_good = handover_init(&nats->handover, room);
    natsStatus status = is_good ? nats_connect(nats) : NATS_NO_MEMORY;
    jsOptions_Init(&options);
    options.Wait = NATS_WAIT_MS;
    options.PublishAsync.MaxPending = room;
    options.PublishAsync.AckHandler = nats_published;
    options.PublishAsync.AckHandlerClosure = &nats->handover;
    if (status == NATS_OK)
        status = natsConnection_JetStream(&nats->stream, nats->connection, &options);
    if (status == NATS_OK)
        return nats;
    (void)nats_failed(config->address, status);
    nats_driver_close(nats);
    return NULL;
}

static void
nats_subject(const struct driver_config *config, uint32_t partition, char *subject)
{
    uint32_t each = config->workload->partitions;

    snprintf(
        subject, NATS_SUBJECT_MAX, "%s.%u.%u", config->prefix, partition / each, partition % each);
}

/* The partition of all topics that a subject names: "prefix.topic.partition". */
static uint32_t
nats_partition(const struct driver_config *config, const char *subject)
{
    const char *numbers = subject + strlen(config->prefix) + 1;
    char *end = NULL;
    unsigned long topic = strtoul(numbers, &end, 10);

    return (uint32_t)(topic * config->workload->partitions + strtoul(end + 1, NULL, 10));
}

static bool
nats_prepare(const struct driver_config *config)
{
    struct nats *nats = nats_driver_open(config, 1);
    natsStatus status = nats == NULL ? NATS_NO_MEMORY : NATS_OK;

    for (uint32_t i = 0; status == NATS_OK && i < config->workload->topics; i++) {
        jsStreamConfig stream;
        char name[BENCH_NAME_MAX];
        char all[NATS_SUBJECT_MAX];
        const char *subjects[] = {all};
        bench_topic_name(config, i, name, sizeof(name));
        snprintf(all, sizeof(all), "%s.%u.*", config->prefix, i);
        jsStreamConfig_Init(&stream);
        stream.Name = name;
        stream.Subjects = subjects;
        stream.SubjectsLen = 1;
        stream.Storage = js_FileStorage;
        stream.Replicas = 1;
        status = js_AddStream(NULL, nats->stream, &stream, NULL, NULL);
    }
    if (nats != NULL && status != NATS_OK)
        (void)nats_failed("the streams cannot be made", status);
    nats_driver_close(nats);
    return status == NATS_OK;
}

/* ---- producers */

static void *
nats_open_producer(const struct driver_config *config, uint32_t idx)
{
    const struct workload *workload = config->workload;
    struct nats *nats = nats_driver_open(config, workload->in_flight * workload->batch_records);

    (void)idx;
    if (nats == NULL)
        return NULL;
    nats->under_way = calloc(workload->in_flight, sizeof(*nats->under_way));
    nats->value = malloc(max_u64(workload->record_bytes, workload->record_bytes_max));
    if (nats->under_way == NULL || nats->value == NULL) {
        nats_driver_close(nats);
        return NULL;
    }
    return nats;
}

static bool
nats_send(void *connection, const struct bench_batch *batch)
{
    struct nats *nats = connection;
    const struct workload *workload = nats->config->workload;
    char subject[NATS_SUBJECT_MAX];

    if (!nats->is_handing) {
        if (nats->count == workload->in_flight)
            return false;
        nats->under_way[(nats->first + nats->count++) % workload->in_flight] = (struct nats_batch){
            .batch = *batch, .left = batch->count};
        nats->is_handing = true;
        nats->handed = 0;
    }
    nats_subject(nats->config, batch->partition, subject);
    for (; nats->handed < batch->count; nats->handed++) {
        uint32_t bytes = bench_value_bytes(workload, batch->first_sequence + nats->handed);
        bench_value(nats->value, bytes, batch, nats->handed);
        if (js_PublishAsync(nats->stream, subject, nats->value, (int)bytes, NULL) != NATS_OK)
            return false; /* a broken connection shows in poll */
    }
    nats->is_handing = false;
    return true;
}

/* The batch under way that holds a record; NULL: none. */
static struct nats_batch *
nats_find(struct nats *nats, uint32_t partition, uint32_t sequence)
{
    uint32_t places = nats->config->workload->in_flight;

    for (uint32_t i = 0; i < nats->count; i++) {
        struct nats_batch *batch = &nats->under_way[(nats->first + i) % places];
        if (batch->batch.partition == partition &&
            sequence - batch->batch.first_sequence < batch->batch.count)
            return batch;
    }
    return NULL;
}

static void
nats_answered(struct nats *nats, natsMsg *message, bool is_good)
{
    const struct bench_sink *sink = &nats->config->sink;
    uint32_t places = nats->config->workload->in_flight;
    uint32_t partition = nats_partition(nats->config, natsMsg_GetSubject(message));
    struct nats_batch *batch = nats_find(
        nats, partition, bench_sequence((const uint8_t *)natsMsg_GetData(message)));

    if (batch == NULL || batch->left == 0)
        return;
    batch->has_failed |= !is_good;
    if (--batch->left > 0)
        return;
    const struct nats_batch done = *batch;
    while (nats->count > 0 && nats->under_way[nats->first].left == 0) {
        nats->first = (nats->first + 1) % places;
        nats->count--;
    }
    sink->acked(sink->ctx, &done.batch, !done.has_failed);
}

/* ---- consumers */

static natsStatus
nats_subscribe(struct nats *nats, uint32_t topic, const char *subject)
{
    char name[BENCH_NAME_MAX];
    jsSubOptions options;
    natsSubscription **subscription = &nats->subscriptions[nats->subscription_count];

    bench_topic_name(nats->config, topic, name, sizeof(name));
    jsSubOptions_Init(&options);
    options.Stream = name;
    options.Ordered = true;
    options.Config.DeliverPolicy = js_DeliverNew;
    natsStatus status = js_Subscribe(
        subscription, nats->stream, subject, nats_delivered, &nats->handover, NULL, &options, NULL);
    if (status != NATS_OK)
        return status;
    nats->subscription_count++;
    /* Flow control holds the server back; the library itself must drop nothing. */
    return natsSubscription_SetPendingLimits(*subscription, -1, -1);
}

/* A lone consumer subscribes to whole topics: one thread of the library each, not one per
 * partition. */
static void *
nats_open_consumer(const struct driver_config *config, uint32_t idx)
{
    const struct workload *workload = config->workload;
    uint32_t all = workload->topics * workload->partitions;
    struct nats *nats = nats_driver_open(config, NATS_HELD_MAX);
    char subject[NATS_SUBJECT_MAX];
    natsStatus status = NATS_OK;

    if (nats == NULL)
        return NULL;
    nats->subscriptions = calloc(all, sizeof(natsSubscription *));
    if (nats->subscriptions == NULL)
        status = NATS_NO_MEMORY;
    for (uint32_t i = 0; workload->consumers == 1 && status == NATS_OK && i < workload->topics;
         i++) {
        snprintf(subject, sizeof(subject), "%s.%u.*", config->prefix, i);
        status = nats_subscribe(nats, i, subject);
    }
    for (uint32_t i = idx; workload->consumers > 1 && status == NATS_OK && i < all;
         i += workload->consumers) {
        nats_subject(config, i, subject);
        status = nats_subscribe(nats, i / workload->partitions, subject);
    }
    if (status != NATS_OK) {
        (void)nats_failed("no consumer", status);
        nats_driver_close(nats);
        return NULL;
    }
    return nats;
}

/* ---- both */

static bool
nats_poll(void *connection)
{
    struct nats *nats = connection;
    const struct bench_sink *sink = &nats->config->sink;
    uint32_t count = handover_take(&nats->handover);

    for (uint32_t i = 0; i < count; i++) {
        const struct nats_note *note = &nats->handover.taken[i];
        natsMsg *message = note->message;
        if (nats->under_way != NULL)
            nats_answered(nats, message, note->is_good);
        else
            sink->received(sink->ctx,
                           nats_partition(nats->config, natsMsg_GetSubject(message)),
                           (const uint8_t *)natsMsg_GetData(message),
                           (uint32_t)natsMsg_GetDataLength(message));
        natsMsg_Destroy(message);
    }
    return natsConnection_Status(nats->connection) == NATS_CONN_STATUS_CONNECTED ||
           nats_failed("connection", NATS_CONNECTION_CLOSED);
}

static struct driver_wait
nats_wait(void *connection)
{
    const struct nats *nats = connection;

    return (struct driver_wait){.fd = nats->handover.fd, .events = POLLIN, .within_ns = UINT64_MAX};
}

const struct driver_ops driver_nats = {
    .name = "nats",
    .label = "NATS JetStream through libnats: each record published by itself, acknowledged "
             "asynchronously; ordered push consumers",
    .prepare = nats_prepare,
    .open_producer = nats_open_producer,
    .open_consumer = nats_open_consumer,
    .send = nats_send,
    .poll = nats_poll,
    .wait = nats_wait,
    .close = nats_driver_close,
};
