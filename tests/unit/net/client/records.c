/* Goal: every record can be told from every other. Method: eight bytes of number, then a pattern
 * of it. */
#include "records.h"

#include "engine/record/record_iterator.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct deliveries *
deliveries_new(void)
{
    struct deliveries *deliveries = calloc(1, sizeof(*deliveries));

    memset(deliveries->rc, 255, sizeof(deliveries->rc));
    return deliveries;
}

void
deliveries_note(const struct eagre_delivery *delivery, void *context)
{
    struct deliveries *deliveries = context;

    cr_assert_gt(delivery->record_count, 0);
    for (uint32_t i = 0; i < delivery->record_count; i++) {
        uint64_t number = delivery->opaques[i];
        cr_assert_lt(number, RECORDS_MAX);
        deliveries->rc[number] = (uint8_t)delivery->rc;
        deliveries->times[number]++;
        deliveries->offset[number] = delivery->first_offset == EAGRE_OFFSET_UNKNOWN
                                         ? EAGRE_OFFSET_UNKNOWN
                                         : delivery->first_offset + i;
        if (number > deliveries->last)
            deliveries->last = number;
    }
    deliveries->durability = delivery->durability;
    deliveries->server_error = delivery->server_error;
    deliveries->duplicates += (uint64_t)(delivery->is_duplicate != 0) * delivery->record_count;
    if (delivery->rc == EAGRE_OK)
        deliveries->delivered += delivery->record_count;
    else
        deliveries->failed += delivery->record_count;
    if (delivery->rc == EAGRE_OK && delivery->first_offset == EAGRE_OFFSET_UNKNOWN)
        deliveries->unknown_offsets += delivery->record_count;
}

bool
deliveries_are_there(void *context)
{
    const struct deliveries *deliveries = context;

    return deliveries->delivered + deliveries->failed >= deliveries->want;
}

static void
value_of(uint64_t number, uint8_t *value, uint32_t bytes)
{
    memcpy(value, &number, sizeof(number));
    for (uint32_t i = 8; i < bytes; i++)
        value[i] = (uint8_t)(number * 31 + i);
}

uint64_t
send_some(const struct sending *sending, uint64_t first, uint64_t count)
{
    static uint8_t value[1 << 20];
    uint64_t taken = 0;

    for (; taken < count; taken++) {
        value_of(first + taken, value, sending->value_bytes);
        struct eagre_record record = eagre_record_of(NULL, 0, value, sending->value_bytes);
        record.partition = sending->partition;
        record.opaque = first + taken;
        if (eagre_send(sending->producer, &record, 1, NULL) == 0)
            break;
    }
    return taken;
}

void
send_numbers(const struct sending *sending, uint64_t first, uint64_t count)
{
    uint64_t end_ns = clock_now_ns(&sending->server->clock) + 20 * NS_PER_S;

    for (uint64_t sent = 0; sent < count;) {
        sent += send_some(sending, first + sent, count - sent);
        eagre_poll(sending->client, 0);
        server_poll(sending->server);
        cr_assert_lt(clock_now_ns(&sending->server->clock), end_ns, "sent only %lu", sent);
    }
}

static void
check_record(const struct record_view *view, uint64_t number)
{
    uint8_t value[1 << 16];
    uint64_t found;

    cr_assert_geq(view->value.count, 8);
    memcpy(&found, view->value.at, 8);
    cr_assert_eq(found, number, "offset %ld holds %lu, not %lu", view->offset, found, number);
    value_of(number, value, (uint32_t)view->value.count);
    cr_assert_eq(memcmp(value, view->value.at, view->value.count), 0);
}

void
check_log(const struct server *server,
          uint32_t partition,
          uint64_t first,
          uint64_t count,
          const struct deliveries *except_failed)
{
    const struct server_partition *log = &server->partitions[partition];
    uint64_t number = first;
    struct record_view view;

    for (uint64_t at = 0; at < log->log_bytes;) {
        struct record_batch_info info;
        struct record_iterator iterator;
        cr_assert_eq(record_batch_read(log->log + at, log->log_bytes - at, &info), RC_OK);
        struct bytes payload = {log->log + at + RECORD_BATCH_HEADER_BYTES,
                                info.batch_bytes - RECORD_BATCH_HEADER_BYTES};
        record_iterator_begin(&iterator, &info, payload);
        while (record_iterator_next(&iterator, &view)) {
            while (except_failed != NULL && except_failed->rc[number] != EAGRE_OK)
                number++;
            check_record(&view, number++);
        }
        cr_assert_eq(iterator.rc, RC_OK);
        at += info.batch_bytes;
    }
    while (except_failed != NULL && number < first + count && except_failed->rc[number] != EAGRE_OK)
        number++;
    cr_assert_eq(number, first + count, "the log ends before %lu", number);
}

static void
count_numbers(const struct server_partition *log, uint8_t *times)
{
    struct record_view view;

    for (uint64_t at = 0; at < log->log_bytes;) {
        struct record_batch_info info;
        struct record_iterator iterator;
        cr_assert_eq(record_batch_read(log->log + at, log->log_bytes - at, &info), RC_OK);
        struct bytes payload = {log->log + at + RECORD_BATCH_HEADER_BYTES,
                                info.batch_bytes - RECORD_BATCH_HEADER_BYTES};
        record_iterator_begin(&iterator, &info, payload);
        while (record_iterator_next(&iterator, &view)) {
            uint64_t number;
            memcpy(&number, view.value.at, 8);
            cr_assert_lt(number, RECORDS_MAX);
            times[number]++;
        }
        at += info.batch_bytes;
    }
}

void
check_log_is_truth(const struct server *server,
                   uint32_t partition,
                   uint64_t count,
                   const struct deliveries *deliveries)
{
    static uint8_t times[RECORDS_MAX];

    memset(times, 0, sizeof(times));
    count_numbers(&server->partitions[partition], times);
    for (uint64_t i = 0; i < count; i++) {
        uint8_t rc = deliveries->rc[i];
        cr_assert_leq(times[i], 1, "%lu is stored %u times", i, times[i]);
        cr_assert_eq(deliveries->times[i], 1);
        if (rc == EAGRE_OK)
            cr_assert_eq(times[i], 1, "%lu is delivered and not stored", i);
        else if (rc != EAGRE_SEQUENCE_LOST && rc != EAGRE_TIMED_OUT)
            cr_assert_eq(times[i], 0, "%lu failed (%u) and is stored", i, rc);
    }
}

uint64_t
log_records(const struct server *server, uint32_t partition)
{
    return server->partitions[partition].next_offset;
}
