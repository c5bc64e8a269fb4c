/* The first step of a Fetch: the request is decoded, and everything that outlives its receive block
 * (topic names, partitions, room for the reply's headers) is laid out in one piece of memory,
 * inside the record for small ones. */
#include "net/gate/gate_internal.h"

#define GATE_ISOLATION_COMMITTED 1

struct fetch_size {
    uint32_t topics;
    uint32_t entries;
    uint64_t name_bytes;
};

static struct fetch_size
begin_count(const struct kafka_fetch_request *request)
{
    struct fetch_size size = {.topics = request->topics.count};

    for (uint32_t i = 0; i < request->topics.count; i++) {
        size.entries += request->topics.at[i].partitions.count;
        size.name_bytes += request->topics.at[i].name.count;
    }
    return size;
}

static uint32_t
begin_topic_find(const struct gate *gate,
                 const struct kafka_fetch_request_topic *topic,
                 int16_t version)
{
    return version >= 13 ? topic_table_find_id(&gate->topics, topic->topic_id.at)
                         : topic_table_find(&gate->topics, topic->name.at, topic->name.count);
}

static void
begin_entry(struct gate *gate,
            struct gate_fetch *fetch,
            const struct kafka_fetch_request_partition *asked,
            uint32_t topic_idx)
{
    struct gate_fetch_entry *entry = &fetch->entries[fetch->entry_count++];
    const struct partition_ref *ref = topic_idx == TOPIC_NONE ? NULL
                                                              : topic_table_partition(&gate->topics,
                                                                                      topic_idx,
                                                                                      asked->index);

    memset(entry, 0, sizeof(*entry));
    entry->fetch = fetch;
    entry->partition = asked->index;
    entry->offset = (uint64_t)asked->fetch_offset;
    entry->max_bytes = asked->max_bytes < 0 ? 0 : (uint32_t)asked->max_bytes;
    entry->leader_epoch = asked->current_leader_epoch;
    if (ref != NULL && asked->fetch_offset >= 0) {
        entry->ref = *ref;
        entry->due = true;
        park__listen(gate, entry);
    } else if (ref != NULL) {
        entry->error = KAFKA_ERROR_OFFSET_OUT_OF_RANGE;
    }
}

static void
begin_topics(struct gate *gate,
             struct gate_fetch *fetch,
             const struct kafka_fetch_request *request,
             uint8_t *names)
{
    int16_t version = gate__slot(gate, fetch->slot)->version;

    for (uint32_t i = 0; i < request->topics.count; i++) {
        const struct kafka_fetch_request_topic *asked = &request->topics.at[i];
        uint32_t topic_idx = begin_topic_find(gate, asked, version);
        struct gate_fetch_topic *topic = &fetch->topics[i];
        uint32_t first = fetch->entry_count;

        if (asked->name.count > 0)
            bytes_copy(names, asked->name.count, asked->name.at, asked->name.count);
        topic->entry_first = first;
        topic->topic = (struct kafka_fetch_topic){
            .name = {.at = names, .count = asked->name.count},
            .topic_id = asked->topic_id,
            .partition_count = asked->partitions.count,
        };
        names += asked->name.count;
        for (uint32_t k = 0; k < asked->partitions.count; k++)
            begin_entry(gate, fetch, &asked->partitions.at[k], topic_idx);
        int16_t unknown = version >= 13 && topic_idx == TOPIC_NONE
                              ? KAFKA_ERROR_UNKNOWN_TOPIC_ID
                              : KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
        for (uint32_t k = first; k < fetch->entry_count; k++)
            if (fetch->entries[k].ref.incarnation == 0 && fetch->entries[k].error == 0)
                fetch->entries[k].error = unknown;
    }
}

/* An upper bound of the reply's headers, before names are laid out. */
static uint64_t
begin_reply_bytes(const struct fetch_size *size)
{
    return 32 + (uint64_t)size->topics * 32 + size->name_bytes +
           (uint64_t)size->entries * (KAFKA_FETCH_PARTITION_HEAD_BYTES_MAX + 1);
}

/* Lays topics, entries, reply and names out; false: no memory now. */
static bool
begin_lay_out(struct gate *gate,
              uint32_t fetch_idx,
              const struct fetch_size *size,
              uint8_t **ret_names)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);
    uint64_t reply = begin_reply_bytes(size);
    uint64_t topics = (uint64_t)size->topics * sizeof(struct gate_fetch_topic);
    uint64_t entries = (uint64_t)size->entries * sizeof(struct gate_fetch_entry);
    uint64_t bytes = topics + entries + size->name_bytes;
    uint8_t *at = fetch->inline_memory;

    reply = reply <= GATE_SLOT_INLINE_BYTES ? 0 : reply;
    fetch->state_block = NULL;
    if (bytes + reply > GATE_FETCH_INLINE_BYTES) {
        if (bytes + reply > BUDDY_BLOCK_MAX)
            return false;
        at = fetch->state_block = buddy_take(&gate->state, bytes + reply);
        if (at == NULL)
            return false;
    }
    fetch->entries = (struct gate_fetch_entry *)(void *)at;
    fetch->topics = (struct gate_fetch_topic *)(void *)(at + entries);
    fetch->reply = reply == 0 ? NULL : at + entries + topics + size->name_bytes;
    fetch->reply_bytes_max = (uint32_t)reply;
    *ret_names = at + entries + topics;
    return true;
}

static void
begin_fill(struct gate *gate, struct gate_fetch *fetch, const struct kafka_fetch_request *request)
{
    uint32_t max_bytes = request->max_bytes < 0 ? 0 : (uint32_t)request->max_bytes;
    uint64_t asked_ns = request->max_wait_ms <= 0 ? 0 : (uint64_t)request->max_wait_ms * NS_PER_MS;
    uint64_t wait_ns = min_u64(asked_ns, gate->config.limits.fetch_wait_ns);
    uint64_t min_bytes = request->min_bytes < 0 ? 0 : (uint64_t)request->min_bytes;

    fetch->state = FETCH_PROBING;
    fetch->single = false;
    fetch->committed = request->isolation_level == GATE_ISOLATION_COMMITTED;
    fetch->expired = wait_ns == 0 || gate->stopping;
    fetch->queued_issue = false;
    fetch->queued_memory = false;
    fetch->unarmed = false;
    fetch->was_parked = false;
    fetch->read_again = false;
    fetch->barren_count = 0;
    fetch->heap_at = GATE_NONE;
    fetch->issue_at = 0;
    fetch->deadline_ns = gate->now_ns + wait_ns;
    max_bytes = (uint32_t)min_u64(max_bytes,
                                  quota__fetch_bytes_max(gate, gate__slot(gate, fetch->slot)));
    fetch->max_bytes = max_bytes;
    fetch->min_bytes = min_u64(min_bytes, min_u32(max_bytes, gate->config.limits.fetch_bytes_max));
    fetch->bytes_needed = 0;
    fetch->entry_count = 0;
    fetch->topic_count = request->topics.count;
    fetch->data_block = NULL;
}

static void
begin_run(struct gate *gate, uint32_t fetch_idx)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);
    bool error = false;

    for (uint32_t i = 0; i < fetch->entry_count; i++)
        error = error || fetch->entries[i].error != KAFKA_ERROR_NONE;
    fetch->expired = fetch->expired || error; /* an error is told at once */
    fetch->single = fetch->entry_count == 1 && fetch->min_bytes <= 1 && !error;
    if (fetch->single)
        fetch->entries[0].readable_bytes = fetch__hint(gate, fetch);
    if (fetch->entry_count == 0 || fetch->single)
        fetch__decide(gate, fetch_idx);
    else
        fetch__queue_issue(gate, fetch_idx);
}

/* Takes what a Fetch needs and starts it. A request of a session that we never granted is told so.
 */
static enum step
begin_start(struct gate *gate, uint32_t idx, struct kafka_fetch_request *request)
{
    bool incremental = request->session_epoch > 0;
    uint8_t *names;

    if (incremental)
        request->topics.count = 0;
    const struct fetch_size size = begin_count(request);
    uint32_t fetch_idx = slab_take(&gate->fetches);
    if (fetch_idx == SLAB_NONE)
        return STEP_WAIT_STATE;
    if (!begin_lay_out(gate, fetch_idx, &size, &names)) {
        slab_give(&gate->fetches, fetch_idx);
        return STEP_WAIT_STATE;
    }
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);
    fetch->slot = slot__open(gate, idx, SLOT_FETCH);
    if (fetch->slot == GATE_NONE) {
        if (fetch->state_block != NULL)
            buddy_give(&gate->state, fetch->state_block);
        slab_give(&gate->fetches, fetch_idx);
        return STEP_WAIT_SLOT;
    }
    struct gate_slot *slot = gate__slot(gate, fetch->slot);
    slot->fetch = fetch_idx;
    slot->flags &= (uint8_t)~SLOT_OPEN;
    if (fetch->reply != NULL) {
        slot->reply = fetch->reply;
        slot->reply_capacity = fetch->reply_bytes_max;
    }
    begin_fill(gate, fetch, request);
    begin_topics(gate, fetch, request, names);
    gate__count(&gate->counters.requests_fetch, 1);
    if (incremental)
        fetch__finish(gate, fetch_idx, KAFKA_ERROR_FETCH_SESSION_ID_NOT_FOUND);
    else
        begin_run(gate, fetch_idx);
    return STEP_ON;
}

enum step
fetch__begin(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);
    const struct kafka_request_header *header = &connection->header;
    const uint8_t *frame = gate__block(gate, connection->block)->at + connection->parse;
    struct reader reader = reader_over(frame + header->header_bytes, header->body_bytes);
    struct kafka_arena arena = kafka_arena_over(gate->scratch, gate->scratch_bytes);
    struct kafka_fetch_request request;
    enum rc rc = kafka_fetch_request_decode(&reader, header->api_version, &arena, &request);

    if (rc != RC_OK || begin_count(&request).entries > gate->config.limits.fetch_partitions_max) {
        connection__close(gate, idx, rc == RC_MALFORMED ? GATE_CLOSE_MALFORMED : GATE_CLOSE_LIMIT);
        return STEP_CLOSED;
    }
    return begin_start(gate, idx, &request);
}
