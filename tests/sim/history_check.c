/* The history and its verdict; see history_check.h. */
#include "history_check.h"

#include "engine/base/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- writing down ---- */

void
history_init(struct history *history)
{
    *history = (struct history){0};
}

void
history_fini(struct history *history)
{
    free(history->sessions.at);
    free(history->transactions.at);
    free(history->records.at);
    free(history->walks.at);
    free(history->reads.at);
    free(history->offsets.at);
    *history = (struct history){0};
}

bool
history_fail(struct history *history, const char *format, ...)
{
    va_list arguments;
    if (history->why[0] != '\0')
        return false; /* the first reason counts */
    va_start(arguments, format);
    (void)vsnprintf(history->why, sizeof(history->why), format, arguments);
    va_end(arguments);
    return false;
}

static uint32_t
list_add(struct history *history, struct history_list *list, const void *item, size_t bytes)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 256 : list->capacity * 2;
        list->at = realloc(list->at, list->capacity * bytes);
        CHECK(list->at != NULL);
    }
    memcpy((uint8_t *)list->at + list->count * bytes, item, bytes);
    history->tick++;
    return ++list->count;
}

static void *
list_get(struct history_list *list, uint32_t number, size_t bytes)
{
    CHECK(number > 0 && number <= list->count);
    return (uint8_t *)list->at + (number - 1) * bytes;
}

uint32_t
history_add_session(struct history *history, uint32_t id)
{
    const struct history_session session = {
        .id = id, .producer_id = -1, .asked = history->tick + 1, .answered = HISTORY_NEVER};
    return list_add(history, &history->sessions, &session, sizeof(session));
}

uint32_t
history_add_transaction(struct history *history, uint32_t session)
{
    const struct history_transaction transaction = {
        .session = session, .commit_asked = HISTORY_NEVER, .committed = HISTORY_NEVER};
    return list_add(history, &history->transactions, &transaction, sizeof(transaction));
}

uint32_t
history_add_record(struct history *history, const struct history_record *record)
{
    uint32_t number = list_add(history, &history->records, record, sizeof(*record));
    history_record(history, number)->stored_offset = -1;
    return number;
}

uint32_t
history_add_walk(struct history *history, const struct history_walk *walk)
{
    return list_add(history, &history->walks, walk, sizeof(*walk));
}

uint32_t
history_add_read(struct history *history, uint32_t walk, uint32_t record, int64_t offset)
{
    const struct history_read read = {
        .walk = walk, .record = record, .offset = offset, .tick = history->tick};
    return list_add(history, &history->reads, &read, sizeof(read));
}

uint32_t
history_add_offset(struct history *history, const struct history_offset *offset)
{
    uint32_t number = list_add(history, &history->offsets, offset, sizeof(*offset));
    history_offset(history, number)->asked = history->tick;
    history_offset(history, number)->answered = HISTORY_NEVER;
    return number;
}

struct history_session *
history_session(struct history *history, uint32_t number)
{
    return list_get(&history->sessions, number, sizeof(struct history_session));
}

struct history_transaction *
history_transaction(struct history *history, uint32_t number)
{
    return list_get(&history->transactions, number, sizeof(struct history_transaction));
}

struct history_record *
history_record(struct history *history, uint32_t number)
{
    return list_get(&history->records, number, sizeof(struct history_record));
}

struct history_walk *
history_walk(struct history *history, uint32_t number)
{
    return list_get(&history->walks, number, sizeof(struct history_walk));
}

struct history_offset *
history_offset(struct history *history, uint32_t number)
{
    return list_get(&history->offsets, number, sizeof(struct history_offset));
}

static struct history_read *
history_read(struct history *history, uint32_t number)
{
    return list_get(&history->reads, number, sizeof(struct history_read));
}

static struct history_transaction *
transaction_of(struct history *history, uint32_t record)
{
    return history_transaction(history, history_record(history, record)->transaction);
}

static bool
is_compacted(const struct history *history, uint32_t partition)
{
    return (history->compacted >> partition & 1) != 0;
}

/* ---- what stands at the end (H9) ---- */

/* From the last reading of everything: where each record stands, which transactions are seen. */
static bool
judge_stored(struct history *history)
{
    for (uint32_t i = 1; i <= history->reads.count; i++) {
        const struct history_read *read = history_read(history, i);
        const struct history_walk *walk = history_walk(history, read->walk);
        if (read->record == HISTORY_NONE || read->record > history->records.count)
            return history_fail(history,
                                "partition %u offset %" PRId64 ": nobody wrote what was read",
                                walk->partition,
                                read->offset);
        struct history_record *record = history_record(history, read->record);
        if (record->partition != walk->partition)
            return history_fail(history,
                                "record %u was written to partition %u and read in %u",
                                read->record,
                                record->partition,
                                walk->partition);
        if (record->stored_offset < 0)
            record->stored_offset = read->offset;
        if (record->stored_offset != read->offset)
            return history_fail(history,
                                "H9: record %u stands at %" PRId64 " and at %" PRId64
                                " of partition %u",
                                read->record,
                                record->stored_offset,
                                read->offset,
                                walk->partition);
        if (walk->is_final && walk->is_committed)
            history_transaction(history, record->transaction)->is_seen = true;
    }
    return true;
}

/* ---- transactions (H1, H2, H6) ---- */

static bool
session_is_later(const struct history_session *a, const struct history_session *b)
{
    return a->producer_id != b->producer_id ? a->producer_id > b->producer_id : a->epoch > b->epoch;
}

static bool
judge_sessions(struct history *history)
{
    for (uint32_t a = 1; a <= history->sessions.count; a++) {
        const struct history_session *first = history_session(history, a);
        for (uint32_t b = 1; b <= history->sessions.count; b++) {
            const struct history_session *second = history_session(history, b);
            if (a == b || first->id != second->id || second->answered == HISTORY_NEVER ||
                first->answered >= second->asked)
                continue;
            if (!session_is_later(second, first))
                return history_fail(history,
                                    "H6: id %u: session %u was answered with epoch %d of %" PRId64
                                    ", then session %u with %d of %" PRId64,
                                    first->id,
                                    a,
                                    first->epoch,
                                    first->producer_id,
                                    b,
                                    second->epoch,
                                    second->producer_id);
        }
    }
    return true;
}

/* The first answer to a later session of the same id. */
static uint64_t
fenced_at(struct history *history, uint32_t number)
{
    const struct history_session *own = history_session(history, number);
    uint64_t tick = HISTORY_NEVER;
    for (uint32_t i = 1; i <= history->sessions.count; i++) {
        const struct history_session *other = history_session(history, i);
        if (other->id == own->id && other->answered < tick && session_is_later(other, own))
            tick = other->answered;
    }
    return tick;
}

static bool
judge_transactions(struct history *history)
{
    for (uint32_t i = 1; i <= history->transactions.count; i++) {
        const struct history_transaction *of = history_transaction(history, i);
        bool is_fenced = of->commit_asked != HISTORY_NEVER &&
                         fenced_at(history, of->session) < of->commit_asked;
        if (is_fenced && of->committed != HISTORY_NEVER)
            return history_fail(
                history, "H6: the commit of transaction %u of a fenced session was taken", i);
        if (is_fenced && of->is_seen)
            return history_fail(history, "H6: transaction %u of a fenced session is seen", i);
        if (of->is_seen && (of->is_void || of->commit_asked == HISTORY_NEVER))
            return history_fail(
                history, "H2: transaction %u stands as committed, but was never to be", i);
    }
    return true;
}

static bool
judge_dirty(struct history *history)
{
    for (uint32_t i = 1; i <= history->reads.count; i++) {
        const struct history_read *read = history_read(history, i);
        const struct history_walk *walk = history_walk(history, read->walk);
        uint32_t number = history_record(history, read->record)->transaction;
        const struct history_transaction *of = history_transaction(history, number);
        if (!walk->is_committed || (!of->is_void && of->commit_asked <= read->tick))
            continue;
        return history_fail(history,
                            "H2: record %u at %" PRId64 " of partition %u was read as committed, "
                            "but transaction %u was %s",
                            read->record,
                            read->offset,
                            walk->partition,
                            number,
                            of->is_void ? "aborted" : "open");
    }
    return true;
}

/* Marks[record]: seen in that walk. */
static void
mark_walk(struct history *history, uint32_t walk, uint8_t *marks)
{
    memset(marks, 0, history->records.count + 1);
    for (uint32_t i = 1; i <= history->reads.count; i++)
        if (history_read(history, i)->walk == walk)
            marks[history_read(history, i)->record]++;
}

/* H1, H3: a walk over committed records holds all of what stands as committed, and nothing else. */
static bool
judge_walk(struct history *history, uint32_t number, const uint8_t *marks)
{
    const struct history_walk *walk = history_walk(history, number);

    for (uint32_t i = 1; i <= history->records.count; i++) {
        const struct history_record *record = history_record(history, i);
        const struct history_transaction *of = transaction_of(history, i);
        if (record->partition != walk->partition || is_compacted(history, walk->partition))
            continue;
        if (marks[i] > 1)
            return history_fail(history, "record %u was read %u times in one walk", i, marks[i]);
        if (walk->is_final && marks[i] == 0 && of->committed != HISTORY_NEVER)
            return history_fail(history,
                                "H1: record %u of transaction %u, whose commit was acknowledged, "
                                "is not in partition %u",
                                i,
                                record->transaction,
                                record->partition);
        bool passed = record->stored_offset >= walk->begin && record->stored_offset < walk->end;
        if (passed && of->is_seen != (marks[i] > 0))
            return history_fail(history,
                                "H3: record %u at %" PRId64 " of partition %u was %s, but others "
                                "of transaction %u %s",
                                i,
                                record->stored_offset,
                                record->partition,
                                marks[i] > 0 ? "seen" : "passed over",
                                record->transaction,
                                marks[i] > 0 ? "are not" : "are seen");
        /* It stands nowhere, neither for the reader of all. */
        if (walk->is_final && marks[i] == 0 && of->is_seen)
            return history_fail(history,
                                "H3: record %u of transaction %u is lost, others of it are seen",
                                i,
                                record->transaction);
    }
    return true;
}

static bool
judge_walks(struct history *history)
{
    uint8_t *marks = malloc(history->records.count + 1);
    bool good = true;
    CHECK(marks != NULL);
    for (uint32_t i = 1; good && i <= history->walks.count; i++) {
        if (!history_walk(history, i)->is_committed)
            continue;
        mark_walk(history, i, marks);
        good = judge_walk(history, i, marks);
    }
    free(marks);
    return good;
}

/* ---- exactly once (H5) ---- */

static int64_t
final_offset(struct history *history, uint32_t group, uint32_t partition)
{
    for (uint32_t i = 1; i <= history->offsets.count; i++) {
        const struct history_offset *offset = history_offset(history, i);
        if (offset->is_read && offset->is_final && offset->group == group &&
            offset->partition == partition && offset->answered != HISTORY_NEVER)
            return offset->value;
    }
    return -1;
}

static bool
judge_once(struct history *history)
{
    for (uint32_t i = 1; i <= history->records.count; i++) {
        const struct history_record *source = history_record(history, i);
        uint32_t times = 0;
        if ((history->sources >> source->partition & 1) == 0 ||
            !transaction_of(history, i)->is_seen)
            continue;
        uint32_t group = history->group_of[source->partition];
        for (uint32_t k = 1; k <= history->records.count; k++) {
            const struct history_record *made = history_record(history, k);
            times += made->from == (int32_t)source->partition && made->group == group &&
                     made->from_offset == source->stored_offset &&
                     transaction_of(history, k)->is_seen;
        }
        int64_t committed = final_offset(history, group, source->partition);
        uint32_t wanted = source->wants_next && source->stored_offset < committed;
        if (times != wanted)
            return history_fail(history,
                                "H5: record %u at %" PRId64 " of partition %u became %u records, "
                                "not %u; group %u is at %" PRId64,
                                i,
                                source->stored_offset,
                                source->partition,
                                times,
                                wanted,
                                group,
                                committed);
    }
    return true;
}

/* ---- offsets (H7) ---- */

struct written {
    uint64_t asked;
    uint64_t acked;
    bool is_void;
};

static struct written
written_of(struct history *history, const struct history_offset *write)
{
    if (write->transaction == HISTORY_NONE)
        return (struct written){write->asked, write->answered, write->is_void};
    const struct history_transaction *of = history_transaction(history, write->transaction);
    return (struct written){of->commit_asked,
                            of->committed,
                            of->is_void || of->commit_asked == HISTORY_NEVER || write->is_void};
}

/* May a read give this write? Not when another one came surely between. */
static bool
may_give(struct history *history, const struct history_offset *read, const struct written *write)
{
    for (uint32_t i = 1; i <= history->offsets.count; i++) {
        const struct history_offset *other = history_offset(history, i);
        if (other->is_read || other->group != read->group || other->partition != read->partition)
            continue;
        struct written later = written_of(history, other);
        if (!later.is_void && later.acked < read->asked && write->acked < later.asked)
            return false;
    }
    return true;
}

static bool
judge_offset(struct history *history, const struct history_offset *read)
{
    const struct written nothing = {0, 0, false};

    if (read->value < 0 && may_give(history, read, &nothing))
        return true;
    for (uint32_t i = 1; read->value >= 0 && i <= history->offsets.count; i++) {
        const struct history_offset *write = history_offset(history, i);
        if (write->is_read || write->group != read->group || write->partition != read->partition ||
            write->value != read->value)
            continue;
        struct written written = written_of(history, write);
        if (!written.is_void && written.asked < read->answered && may_give(history, read, &written))
            return true;
    }
    return history_fail(history,
                        "H7: group %u partition %u: offset %" PRId64 " was read between %" PRIu64
                        " and %" PRIu64 ", which nobody could have left there",
                        read->group,
                        read->partition,
                        read->value,
                        read->asked,
                        read->answered);
}

static bool
judge_offsets(struct history *history)
{
    for (uint32_t i = 1; i <= history->offsets.count; i++) {
        const struct history_offset *read = history_offset(history, i);
        if (read->is_read && read->answered != HISTORY_NEVER && !judge_offset(history, read))
            return false;
    }
    return true;
}

/* ---- cycles (H4) ---- */

/* Record at a place; HISTORY_NONE: none. */
static uint32_t
record_at(struct history *history, uint32_t partition, int64_t offset)
{
    for (uint32_t i = 1; i <= history->records.count; i++) {
        const struct history_record *record = history_record(history, i);
        if (record->partition == partition && record->stored_offset == offset)
            return i;
    }
    return HISTORY_NONE;
}

/* One byte per pair: edges[a * count + b] when b depends on a. */
static void
add_edges(struct history *history, uint8_t *edges, size_t width)
{
    for (uint32_t i = 1; i <= history->records.count; i++) {
        const struct history_record *made = history_record(history, i);
        if (made->from < 0 || !transaction_of(history, i)->is_seen)
            continue;
        uint32_t source = record_at(history, (uint32_t)made->from, made->from_offset);
        if (source != HISTORY_NONE && transaction_of(history, source)->is_seen)
            edges[history_record(history, source)->transaction * width + made->transaction] = 1;
    }
    for (uint32_t i = 1; i <= history->offsets.count; i++) {
        const struct history_offset *a = history_offset(history, i);
        for (uint32_t k = 1; k <= history->offsets.count; k++) {
            const struct history_offset *b = history_offset(history, k);
            if (a->is_read || b->is_read || a->transaction == HISTORY_NONE ||
                b->transaction == HISTORY_NONE || a->group != b->group ||
                a->partition != b->partition || a->value >= b->value)
                continue;
            if (history_transaction(history, a->transaction)->is_seen &&
                history_transaction(history, b->transaction)->is_seen)
                edges[a->transaction * width + b->transaction] = 1;
        }
    }
    for (uint32_t a = 1; a < width; a++) {
        const struct history_transaction *first = history_transaction(history, a);
        for (uint32_t b = 1; b < width; b++) {
            const struct history_transaction *second = history_transaction(history, b);
            const struct history_session *of = history_session(history, first->session);
            const struct history_session *next = history_session(history, second->session);
            if (first->is_seen && second->is_seen && of->id == next->id &&
                session_is_later(next, of))
                edges[a * width + b] = 1;
        }
    }
}

static bool
find_cycle(struct history *history, const uint8_t *edges, size_t width)
{
    uint8_t *state = calloc(width, 1);
    uint32_t *path = calloc(width + 1, sizeof(*path));
    uint32_t *next = calloc(width + 1, sizeof(*next));
    bool good = true;
    CHECK(state != NULL && path != NULL && next != NULL);
    for (uint32_t root = 1; good && root < width; root++) {
        uint32_t depth = 0;
        if (state[root] != 0)
            continue;
        path[0] = root;
        next[0] = 1;
        state[root] = 1;
        while (good && depth != UINT32_MAX) {
            uint32_t at = path[depth];
            uint32_t to = next[depth]++;
            if (to >= width) {
                state[at] = 2;
                depth--;
            } else if (edges[at * width + to] != 0 && state[to] == 1) {
                good = history_fail(
                    history, "H4: transactions %u and %u depend on each other", to, at);
            } else if (edges[at * width + to] != 0 && state[to] == 0) {
                path[++depth] = to;
                next[depth] = 1;
                state[to] = 1;
            }
        }
    }
    free(state);
    free(path);
    free(next);
    return good;
}

static bool
judge_flow(struct history *history)
{
    size_t width = history->transactions.count + 1;
    uint8_t *edges = calloc(width, width);
    CHECK(edges != NULL);
    add_edges(history, edges, width);
    bool good = find_cycle(history, edges, width);
    free(edges);
    return good;
}

/* ---- compaction (H8) ---- */

static bool
judge_keys(struct history *history, uint32_t walk)
{
    uint32_t newest[HISTORY_KEYS_MAX] = {0};
    const struct history_walk *of = history_walk(history, walk);

    for (uint32_t i = 1; i <= history->reads.count; i++) {
        const struct history_read *read = history_read(history, i);
        if (read->walk != walk)
            continue;
        int32_t key = history_record(history, read->record)->key;
        CHECK(key >= 0 && key < (int32_t)HISTORY_KEYS_MAX);
        if (read->record < newest[key])
            return history_fail(history,
                                "H8: key %d: record %u stands behind the newer record %u",
                                key,
                                read->record,
                                newest[key]);
        newest[key] = read->record;
    }
    for (uint32_t i = 1; of->is_final && i <= history->records.count; i++) {
        const struct history_record *record = history_record(history, i);
        const struct history_transaction *by = transaction_of(history, i);
        if (record->partition != of->partition || i <= newest[record->key] ||
            (!by->is_seen && by->committed == HISTORY_NEVER))
            continue;
        return history_fail(history,
                            "H8: key %d: record %u of committed transaction %u is lost, the newest "
                            "is %u",
                            record->key,
                            i,
                            record->transaction,
                            newest[record->key]);
    }
    return true;
}

static bool
judge_compacted(struct history *history)
{
    for (uint32_t i = 1; i <= history->walks.count; i++) {
        const struct history_walk *walk = history_walk(history, i);
        if (walk->is_committed && is_compacted(history, walk->partition) && !judge_keys(history, i))
            return false;
    }
    return true;
}

bool
history_judge(struct history *history)
{
    return history->why[0] == '\0' && judge_stored(history) && judge_sessions(history) &&
           judge_dirty(history) && judge_transactions(history) && judge_walks(history) &&
           judge_compacted(history) && judge_once(history) && judge_offsets(history) &&
           judge_flow(history);
}
