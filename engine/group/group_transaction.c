/* Offsets that wait for the end of a transaction (TxnOffsetCommit, KIP-98).
 *
 * Such an offset takes its place in the table of offsets when its record is appended, so from then
 * on a reader that wants stable offsets waits (KIP-447), and the end can always be carried out: the
 * place becomes that of the committed offset. Its value counts when the record is durable. The end
 * is one record for all groups, which makes it atomic: a crash leaves all of them waiting, or none.
 */
#include "engine/group/group_inner.h"

/* ---- the table of transactions */

static uint32_t *
txn_bucket(const struct groups *groups, int64_t producer_id)
{
    uint64_t hash = hash_xxh3(&producer_id, sizeof(producer_id), groups->config.hash_seed);

    return &groups->txn_buckets[hash & groups->txn_mask];
}

struct group_txn *
txn__find(const struct groups *groups, int64_t producer_id)
{
    for (uint32_t idx = *txn_bucket(groups, producer_id); idx != SLAB_NONE;) {
        struct group_txn *txn = slab_at(&groups->txns, idx);
        if (txn->producer_id == producer_id)
            return txn;
        idx = txn->next;
    }
    return NULL;
}

static uint32_t
txn_idx(const struct groups *groups, const struct group_txn *txn)
{
    return (uint32_t)((size_t)((const uint8_t *)txn - groups->txns.objects) /
                      groups->txns.object_bytes);
}

static struct group_txn *
txn_add(struct groups *groups, int64_t producer_id, int16_t producer_epoch)
{
    uint32_t *bucket = txn_bucket(groups, producer_id);
    uint32_t idx = slab_take(&groups->txns);

    if (idx == SLAB_NONE) {
        groups->counters.limits_reached++;
        return NULL;
    }
    struct group_txn *txn = slab_at(&groups->txns, idx);
    *txn = (struct group_txn){
        .producer_id = producer_id,
        .producer_epoch = producer_epoch,
        .first = SLAB_NONE,
        .next = *bucket,
    };
    *bucket = idx;
    return txn;
}

static void
txn_remove(struct groups *groups, struct group_txn *txn)
{
    uint32_t idx = txn_idx(groups, txn);
    uint32_t *link = txn_bucket(groups, txn->producer_id);

    CHECK(txn->first == SLAB_NONE);
    while (*link != idx)
        link = &((struct group_txn *)slab_at(&groups->txns, *link))->next;
    *link = txn->next;
    slab_give(&groups->txns, idx);
}

void
txn__unlink(struct groups *groups, struct group_offset *offset)
{
    struct group_txn *txn = slab_at(&groups->txns, offset->txn);

    if (offset->txn_before == SLAB_NONE)
        txn->first = offset->txn_after;
    else
        ((struct group_offset *)slab_at(&groups->offsets, offset->txn_before))->txn_after =
            offset->txn_after;
    if (offset->txn_after != SLAB_NONE)
        ((struct group_offset *)slab_at(&groups->offsets, offset->txn_after))->txn_before =
            offset->txn_before;
    if (txn->first == SLAB_NONE)
        txn_remove(groups, txn);
}

/* ---- its offsets */

static struct group_offset *
pending_add(struct groups *groups,
            struct group *group,
            const struct group_offset_new *new,
            struct group_txn *txn)
{
    struct group_offset *offset = offset__add(groups, group, new, txn_idx(groups, txn));

    if (offset == NULL) {
        groups->counters.limits_reached++;
        return NULL;
    }
    uint32_t idx = (uint32_t)((size_t)((uint8_t *)offset - groups->offsets.objects) /
                              groups->offsets.object_bytes);
    offset->txn_after = txn->first;
    if (txn->first != SLAB_NONE)
        ((struct group_offset *)slab_at(&groups->offsets, txn->first))->txn_before = idx;
    txn->first = idx;
    return offset;
}

static bool
pending_set(struct groups *groups, struct group_offset *offset, const struct group_offset_new *new)
{
    struct bytes metadata;

    if (!group_heap_copy(&groups->heap, new->metadata, &metadata)) {
        groups->counters.limits_reached++;
        return false;
    }
    group_heap_drop(&groups->heap, &offset->metadata);
    offset->metadata = metadata;
    offset->offset = new->offset;
    offset->leader_epoch = new->leader_epoch;
    offset->commit_ms = new->commit_ms;
    offset->serial = ++groups->offset_serial;
    return true;
}

/* What never got a value, or a transaction that got no offset. */
static void
pending_tidy(struct groups *groups, struct group_offset *offset)
{
    if (offset->offset == GROUP_OFFSET_NONE && offset->wait_count == 0)
        offset__remove(groups, offset);
}

bool
pending__replay(struct groups *groups,
                struct group *group,
                const struct group_transaction_end *whose,
                const struct group_offset_new *new)
{
    struct group_txn *txn = txn__find(groups, whose->producer_id);

    if (txn == NULL)
        txn = txn_add(groups, whose->producer_id, whose->producer_epoch);
    if (txn == NULL)
        return false;
    txn->producer_epoch = whose->producer_epoch;
    struct group_offset *offset = pending__find(
        groups, group, new->topic, new->partition, txn_idx(groups, txn));
    if (offset == NULL)
        offset = pending_add(groups, group, new, txn);
    if (offset != NULL && pending_set(groups, offset, new))
        return true;
    if (offset != NULL)
        pending_tidy(groups, offset);
    else if (txn->first == SLAB_NONE)
        txn_remove(groups, txn);
    return false;
}

/* ---- TxnOffsetCommit */

static uint32_t
commit_count(const struct kafka_txn_offset_commit_request *request)
{
    uint32_t count = 0;

    for (uint32_t t = 0; t < request->topics.count; t++)
        count += request->topics.at[t].partitions.count;
    return count;
}

/* errors: one per partition, or NULL and the same error for all. */
static void
commit_answer(struct groups *groups,
              const struct group_wait *wait,
              const int16_t *errors,
              int16_t error)
{
    const struct kafka_txn_offset_commit_request *request = wait->request;
    struct kafka_arena arena = groups->config.hooks.scratch(groups->config.hooks.ctx);
    struct kafka_txn_offset_commit_response response;
    struct kafka_txn_offset_commit_response_topic *topics = kafka_arena_take(
        &arena, request->topics.count * sizeof(*topics) + 8);
    struct kafka_txn_offset_commit_response_partition *partitions = kafka_arena_take(
        &arena, commit_count(request) * sizeof(*partitions) + 8);
    uint32_t item = 0;

    kafka_txn_offset_commit_response_defaults(&response);
    CHECK(topics != NULL && partitions != NULL); /* smaller than the request's own structs */
    for (uint32_t t = 0; t < request->topics.count; t++) {
        topics[t].name = request->topics.at[t].name;
        topics[t].partitions.at = &partitions[item];
        topics[t].partitions.count = request->topics.at[t].partitions.count;
        for (uint32_t p = 0; p < topics[t].partitions.count; p++, item++) {
            partitions[item].index = request->topics.at[t].partitions.at[p].index;
            int16_t said = error;
            if (errors != NULL)
                said = errors[item];
            partitions[item].error = kafka_error_for_version(
                said, KAFKA_TXN_OFFSET_COMMIT, wait->version);
        }
    }
    response.topics.at = topics;
    response.topics.count = request->topics.count;
    groups__answer(groups, wait->token, &response);
}

static struct group_offset_new
commit_new(const struct kafka_txn_offset_commit_request_topic *topic,
           const struct kafka_txn_offset_commit_request_partition *partition,
           int64_t wall_ms)
{
    return (struct group_offset_new){
        .topic = topic->name,
        .partition = (uint32_t)partition->index,
        .leader_epoch = partition->committed_leader_epoch,
        .offset = partition->committed_offset,
        .commit_ms = wall_ms,
        .metadata = partition->committed_metadata,
    };
}

/* Whether the transaction may have offsets here, and its entry (made if need be). */
static int16_t
commit_open(struct groups *groups,
            const struct kafka_txn_offset_commit_request *request,
            struct group_txn **ret_txn)
{
    const struct groups_hooks *hooks = &groups->config.hooks;
    struct group_txn *txn = txn__find(groups, request->producer_id);
    int16_t error = KAFKA_ERROR_NONE;

    if (request->producer_id < 0 || request->producer_epoch < 0)
        return KAFKA_ERROR_INVALID_PRODUCER_ID_MAPPING;
    if (txn != NULL && request->producer_epoch < txn->producer_epoch)
        return KAFKA_ERROR_INVALID_PRODUCER_EPOCH;
    /* The former transaction is not over yet: clients ask again. */
    if (txn != NULL && (txn->is_ending || request->producer_epoch > txn->producer_epoch))
        return KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    if (hooks->check_transaction != NULL)
        error = hooks->check_transaction(hooks->ctx, request);
    if (error == KAFKA_ERROR_NONE && txn == NULL)
        txn = txn_add(groups, request->producer_id, request->producer_epoch);
    if (error == KAFKA_ERROR_NONE && txn == NULL)
        error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    *ret_txn = txn;
    return error;
}

static int16_t
commit_append_one(struct groups *groups,
                  struct group *group,
                  const struct group_offset_new *new,
                  struct group_wait *wait)
{
    const struct kafka_txn_offset_commit_request *request = wait->request;
    struct group_txn *txn = txn__find(groups, request->producer_id);
    const struct group_transaction_end whose = {.producer_id = request->producer_id,
                                                .producer_epoch = request->producer_epoch};
    struct group_offset *offset = pending__find(
        groups, group, new->topic, new->partition, txn_idx(groups, txn));

    if (new->metadata.count > groups->config.limits.metadata_bytes_max)
        return KAFKA_ERROR_OFFSET_METADATA_TOO_LARGE;
    if (offset == NULL) {
        offset = commit__has_place(groups, 0) ? pending_add(groups, group, new, txn) : NULL;
        if (offset == NULL)
            return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    }
    /* It keeps the entry of the transaction alive until the whole request is appended. */
    offset->wait_count++;
    if (!record__append_pending(groups, group, &whose, new, &wait->number)) {
        offset->wait_count--;
        return KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    }
    offset->record_number = wait->number;
    return KAFKA_ERROR_NONE;
}

/* Appends what can be; a transaction that got nothing by it is forgotten again. */
static void
commit_append(struct groups *groups,
              struct group *group,
              struct group_txn *txn,
              struct group_wait *wait)
{
    const struct groups_hooks *hooks = &groups->config.hooks;
    const struct kafka_txn_offset_commit_request *request = wait->request;
    uint32_t item = 0;

    for (uint32_t t = 0; t < request->topics.count; t++) {
        const struct kafka_txn_offset_commit_request_topic *topic = &request->topics.at[t];
        uint32_t partition_count = hooks->partition_count(hooks->ctx, topic->name);
        for (uint32_t p = 0; p < topic->partitions.count; p++, item++) {
            struct group_offset_new new = commit_new(
                topic, &topic->partitions.at[p], wait->wall_ms);
            wait->errors[item] = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
            if (new.partition < partition_count)
                wait->errors[item] = commit_append_one(groups, group, &new, wait);
        }
    }
    if (txn->first == SLAB_NONE) {
        txn_remove(groups, txn);
        return;
    }
    for (uint32_t idx = txn->first; idx != SLAB_NONE;) {
        struct group_offset *offset = slab_at(&groups->offsets, idx);
        idx = offset->txn_after; /* the last one takes the transaction with it */
        pending_tidy(groups, offset);
    }
}

void
groups_commit_transaction(struct groups *groups,
                          const struct group_call *call,
                          const struct kafka_txn_offset_commit_request *request,
                          struct group_time time)
{
    const struct commit_who who = {
        .group_id = request->group_id,
        .member_id = request->member_id,
        .instance = request->group_instance_id,
        .generation = request->generation_id,
        .version = call->version,
        .is_transactional = true,
    };
    struct group_wait wait = {
        .token = call->token,
        .request = request,
        .kind = GROUP_WAIT_TXN_COMMIT,
        .version = call->version,
        .error_count = commit_count(request),
        .wall_ms = time.wall_ms,
    };
    struct group *group = NULL;
    struct group_txn *txn = NULL;
    int16_t error = commit__check(groups, &group, &who, time);

    if (error == KAFKA_ERROR_NONE && wait.error_count > 0 &&
        groups->waits.used == groups->waits.count)
        error = KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    if (error == KAFKA_ERROR_NONE && wait.error_count > 0) {
        wait.errors = group_heap_take(&groups->heap, wait.error_count * sizeof(int16_t));
        error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        if (wait.errors != NULL)
            error = commit_open(groups, request, &txn);
    }
    if (error == KAFKA_ERROR_NONE && wait.error_count > 0) {
        wait.group = group__idx(groups, group);
        commit_append(groups, group, txn, &wait);
    }
    if (wait.number > 0) {
        wait__add(groups, &wait);
        return;
    }
    groups->counters.commits_refused += wait.error_count;
    commit_answer(groups, &wait, error == KAFKA_ERROR_NONE ? wait.errors : NULL, error);
    group_heap_give(&groups->heap, wait.errors, wait.error_count * sizeof(int16_t));
}

void
pending__commit_durable(struct groups *groups, struct group_wait *wait, enum rc rc)
{
    const struct kafka_txn_offset_commit_request *request = wait->request;
    struct group *group = group__at(groups, wait->group);
    struct group_txn *txn = txn__find(groups, request->producer_id);
    uint32_t item = 0;

    for (uint32_t t = 0; t < request->topics.count; t++) {
        const struct kafka_txn_offset_commit_request_topic *topic = &request->topics.at[t];
        for (uint32_t p = 0; p < topic->partitions.count; p++, item++) {
            struct group_offset_new new = commit_new(
                topic, &topic->partitions.at[p], wait->wall_ms);
            groups->counters.commits_refused += wait->errors[item] != KAFKA_ERROR_NONE;
            if (wait->errors[item] != KAFKA_ERROR_NONE)
                continue;
            CHECK(txn != NULL); /* the offset's wait_count keeps it */
            struct group_offset *offset = pending__find(
                groups, group, new.topic, new.partition, txn_idx(groups, txn));
            CHECK(offset != NULL && offset->wait_count > 0);
            if (rc != RC_OK || !pending_set(groups, offset, &new))
                wait->errors[item] = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
            offset->wait_count--;
            pending_tidy(groups, offset);
            txn = txn__find(groups, request->producer_id);
        }
    }
    commit_answer(groups, wait, wait->errors, KAFKA_ERROR_NONE);
}

/* ---- the end */

void
txn__apply_end(struct groups *groups, const struct group_transaction_end *end)
{
    const struct group_txn *txn = txn__find(groups, end->producer_id);

    if (txn == NULL || txn->producer_epoch > end->producer_epoch)
        return;
    /* The transaction's entry goes with its last offset. */
    for (uint32_t idx = txn->first; idx != SLAB_NONE;) {
        struct group_offset *offset = slab_at(&groups->offsets, idx);
        idx = offset->txn_after;
        if (end->is_commit && offset->offset != GROUP_OFFSET_NONE)
            offset__settle(groups, offset);
        else
            offset__remove(groups, offset);
    }
}

void
groups_end_transaction(struct groups *groups,
                       const struct group_transaction_end *end,
                       struct group_time time)
{
    const struct groups_hooks *hooks = &groups->config.hooks;
    struct group_txn *txn = txn__find(groups, end->producer_id);
    struct group_wait wait = {
        .kind = GROUP_WAIT_TXN_END, .group = SLAB_NONE, .wall_ms = time.wall_ms, .end = *end};

    if (txn == NULL || txn->producer_epoch > end->producer_epoch) {
        hooks->ended(hooks->ctx, end->token, RC_OK);
        return;
    }
    if (txn->is_ending || groups->waits.used == groups->waits.count ||
        !record__append_txn_end(groups, end, &wait.number)) {
        hooks->ended(hooks->ctx, end->token, RC_AGAIN);
        return;
    }
    txn->is_ending = true;
    txn->ends_in_commit = end->is_commit;
    wait__add(groups, &wait);
}

void
txn__end_durable(struct groups *groups, struct group_wait *wait, enum rc rc)
{
    const struct groups_hooks *hooks = &groups->config.hooks;
    struct group_txn *txn = txn__find(groups, wait->end.producer_id);

    if (txn != NULL)
        txn->is_ending = false;
    if (rc == RC_OK)
        txn__apply_end(groups, &wait->end);
    hooks->ended(hooks->ctx, wait->end.token, rc);
}
