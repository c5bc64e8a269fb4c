/* Goal: a Fetch waits, wakes and answers as Kafka's does, and holds response memory only while it
 * must. Method: bad input first; then requests through a gate whose log tile keeps real batches and
 * sends real marks. */
#include "tests/unit/net/gate/fixture.h"

#include "engine/record/record_batch.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct fixture_fetch
plain(int16_t version)
{
    return (struct fixture_fetch){.version = version,
                                  .max_wait_ms = 500,
                                  .min_bytes = 1,
                                  .topic = "t",
                                  .id_byte = 1,
                                  .partition_count = 1,
                                  .partition_max_bytes = 1 << 20};
}

static struct kafka_fetch_response
answer(struct fixture *fixture, uint32_t stream, int16_t version)
{
    return fixture_fetch_response(fixture_frame(fixture, stream), version, fixture->correlation);
}

static const struct kafka_fetch_response_partition *
partition_of(const struct kafka_fetch_response *response, uint32_t idx)
{
    cr_assert_eq(response->topics.count, 1u);
    cr_assert_gt(response->topics.at[0].partitions.count, idx);
    cr_assert_eq(response->topics.at[0].partitions.at[idx].index, (int32_t)idx);
    return &response->topics.at[0].partitions.at[idx];
}

Test(gate_fetch, tells_errors_at_once_per_partition, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_fetch fetch = plain(11);

    fetch.topic = "unknown";
    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    struct kafka_fetch_response response = answer(fixture, stream, 11);
    cr_assert_eq(partition_of(&response, 0)->error, 3);
    cr_assert_eq(partition_of(&response, 0)->high_watermark, -1);
    cr_assert_neq(partition_of(&response, 0)->records.at, NULL, "empty records, never null");
    cr_assert_eq(partition_of(&response, 0)->preferred_read_replica, -1);

    fetch = plain(13);
    fetch.id_byte = 99;
    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    response = answer(fixture, stream, 13);
    cr_assert_eq(partition_of(&response, 0)->error, 100);

    fetch = plain(4);
    fetch.offset = 7;
    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    response = answer(fixture, stream, 4);
    cr_assert_eq(partition_of(&response, 0)->error, 1);
    fetch.offset = -1;
    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    response = answer(fixture, stream, 4);
    cr_assert_eq(partition_of(&response, 0)->error, 1);

    fetch = plain(11);
    fetch.partition_count = 6; /* 4 and 5 do not exist, 0 has data */
    fixture_append(fixture, 0, 1, 10);
    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    response = answer(fixture, stream, 11);
    cr_assert_gt(partition_of(&response, 0)->records.count,
                 0u,
                 "an error does not keep others from reading");
    cr_assert_eq(partition_of(&response, 3)->error, 0);
    cr_assert_eq(partition_of(&response, 4)->error, 3);
    fixture_free(fixture);
}

Test(gate_fetch, declines_sessions, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_fetch fetch = plain(11);

    fetch.session_epoch = 5;
    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    struct kafka_fetch_response response = answer(fixture, stream, 11);
    cr_assert_eq(response.error, 70);
    cr_assert_eq(response.topics.count, 0u);
    cr_assert_eq(response.session_id, 0);
    fixture_free(fixture);
}

Test(gate_fetch, gives_the_records_in_every_version, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);

    fixture_append(fixture, 0, 3, 100);
    fixture_append(fixture, 0, 2, 50);
    for (int16_t version = 4; version <= 17; version++) {
        struct fixture_fetch fetch = plain(version);
        fetch.offset = 4; /* in the second batch */
        fixture_fetch_send(fixture, stream, &fetch);
        fixture_run(fixture);
        struct kafka_fetch_response response = answer(fixture, stream, version);
        const struct kafka_fetch_response_partition *partition = partition_of(&response, 0);
        cr_assert_eq(partition->error, 0);
        cr_assert_eq(partition->high_watermark, 5);
        cr_assert_eq(partition->last_stable_offset, 5);
        cr_assert_gt(partition->records.count, 61u);
        cr_assert_eq(
            get_u64_be(partition->records.at), 3u, "begins with the batch that contains it");
        cr_assert_eq(response.session_id, 0);
    }
    fixture_free(fixture);
}

Test(gate_fetch, waits_for_a_mark_holding_no_memory, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_fetch fetch = plain(11);

    for (uint32_t partitions = 1; partitions <= 4; partitions += 3) {
        fetch.partition_count = partitions;
        fetch.offset = (int64_t)fixture->partitions[0].end_offset;
        for (uint32_t i = 1; i < 4; i++)
            fixture->partitions[i].start_offset = fixture->partitions[i].end_offset =
                (uint64_t)fetch.offset;
        fixture_fetch_send(fixture, stream, &fetch);
        fixture_run(fixture);
        cr_assert_eq(fixture_frame(fixture, stream).at, NULL);
        cr_assert_eq(fixture_counter(&gate_gauges(fixture->gate)->response_used_bytes), 0u);
        uint32_t asked = fixture->reads + fixture->probes;
        fixture_advance(fixture, 100 * NS_PER_MS);
        cr_assert_eq(fixture->reads + fixture->probes, asked, "no polling");
        fixture_append(fixture, 0, 5, 100);
        fixture_run(fixture);
        struct kafka_fetch_response response = answer(fixture, stream, 11);
        cr_assert_gt(partition_of(&response, 0)->records.count, 500u);
        cr_assert_eq(response.topics.at[0].partitions.count, partitions);
    }
    fixture_free(fixture);
}

Test(gate_fetch, answers_empty_without_error_when_time_is_up, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_fetch fetch = plain(11);

    for (uint32_t partitions = 1; partitions <= 3; partitions += 2) {
        fetch.partition_count = partitions;
        fixture_fetch_send(fixture, stream, &fetch);
        fixture_run(fixture);
        fixture_advance(fixture, 499 * NS_PER_MS);
        cr_assert_eq(fixture_frame(fixture, stream).at, NULL);
        fixture_advance(fixture, 2 * NS_PER_MS);
        struct kafka_fetch_response response = answer(fixture, stream, 11);
        for (uint32_t i = 0; i < partitions; i++) {
            cr_assert_eq(partition_of(&response, i)->error, 0);
            cr_assert_eq(partition_of(&response, i)->records.count, 0u);
            cr_assert_neq(partition_of(&response, i)->records.at, NULL);
        }
    }
    fetch.max_wait_ms = 0;
    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    answer(fixture, stream, 11);
    fixture_free(fixture);
}

Test(gate_fetch, waits_until_min_bytes_are_there_or_time_is_up, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_fetch fetch = plain(11);

    fetch.partition_count = 2;
    fetch.min_bytes = 2000;
    fixture_append(fixture, 0, 5, 100);
    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    cr_assert_eq(fixture_frame(fixture, stream).at, NULL);
    fixture_append(fixture, 1, 5, 100);
    fixture_run(fixture);
    cr_assert_eq(fixture_frame(fixture, stream).at, NULL, "1.2 KB of 2 KB");
    fixture_append(fixture, 0, 10, 100);
    fixture_run(fixture);
    struct kafka_fetch_response response = answer(fixture, stream, 11);
    cr_assert_geq(partition_of(&response, 0)->records.count +
                      partition_of(&response, 1)->records.count,
                  2000u);

    fetch.min_bytes = 1 << 20;
    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    cr_assert_eq(fixture_frame(fixture, stream).at, NULL);
    fixture_advance(fixture, 501 * NS_PER_MS);
    response = answer(fixture, stream, 11);
    cr_assert_geq(
        partition_of(&response, 0)->records.count, 1500u, "what there is when time is up");
    fixture_free(fixture);
}

Test(gate_fetch, gives_one_whole_batch_beyond_all_limits_and_only_the_first, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_fetch fetch = plain(11);

    for (uint32_t i = 0; i < 3; i++)
        fixture_append(fixture, i, 3, 700 * 1000);
    for (uint32_t partitions = 1; partitions <= 3; partitions += 2) {
        fetch.partition_count = partitions;
        fetch.partition_max_bytes = 1000;
        fetch.max_bytes = 5000;
        fixture_fetch_send(fixture, stream, &fetch);
        fixture_run(fixture);
        struct kafka_fetch_response response = answer(fixture, stream, 11);
        cr_assert_gt(partition_of(&response, 0)->records.count, 2100000u);
        for (uint32_t i = 1; i < partitions; i++) {
            cr_assert_eq(partition_of(&response, i)->records.count, 0u);
            cr_assert_eq(partition_of(&response, i)->error, 0);
        }
    }
    fixture_free(fixture);
}

Test(gate_fetch, keeps_within_partition_and_response_limits, .timeout = 20)
{
    struct fixture *fixture = fixture_new(&(struct fixture_options){.send_bytes = 1000});
    uint32_t stream = fixture_connect(fixture);
    struct fixture_fetch fetch = plain(11);

    for (uint32_t i = 0; i < 4; i++)
        for (uint32_t k = 0; k < 20; k++)
            fixture_append(fixture, i, 1, 1000);
    fetch.partition_count = 4;
    fetch.partition_max_bytes = 5000;
    fetch.max_bytes = 12000;
    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    struct kafka_fetch_response response = answer(fixture, stream, 11);
    cr_assert_leq(partition_of(&response, 0)->records.count, 5000u);
    cr_assert_geq(partition_of(&response, 0)->records.count, 4000u);
    cr_assert_leq(partition_of(&response, 1)->records.count, 5000u);
    cr_assert_leq(partition_of(&response, 2)->records.count, 2000u);
    cr_assert_eq(partition_of(&response, 3)->records.count, 0u);
    fixture_free(fixture);
}

Test(gate_fetch, keeps_order_on_its_connection_and_holds_up_no_other, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    uint32_t other = fixture_connect(fixture);
    struct fixture_fetch fetch = plain(11);
    uint8_t batch[1024];
    struct fixture_produce produce = {.version = 7, .acks = 1, .topic = "t", .partition = 1};

    produce.records = (struct bytes){.at = batch,
                                     .count = fixture_batch(batch, sizeof(batch), 1, 10)};
    int32_t first = fixture_fetch_send(fixture, stream, &fetch);
    int32_t second = fixture_produce_send(fixture, stream, &produce);
    fixture_produce_send(fixture, other, &produce);
    fixture_run(fixture);
    cr_assert_eq(fixture_frame(fixture, stream).at, NULL);
    cr_assert_neq(fixture_frame(fixture, other).at, NULL);
    fixture_append(fixture, 0, 1, 10);
    fixture_run(fixture);
    cr_assert_eq(fixture_frame_correlation(fixture_frame(fixture, stream)), first);
    cr_assert_eq(fixture_frame_correlation(fixture_frame(fixture, stream)), second);
    fixture_free(fixture);
}

Test(gate_fetch, serves_pipelined_fetches_one_at_a_time, .timeout = 20)
{
    struct fixture *fixture = fixture_new(&(struct fixture_options){.response_bytes = MIB});
    uint32_t streams[3];
    struct fixture_fetch fetch = plain(11);

    fixture_append(fixture, 0, 6, 100 * 1000);
    for (uint32_t s = 0; s < 3; s++) {
        streams[s] = fixture_connect(fixture);
        for (uint32_t i = 0; i < 4; i++)
            fixture_fetch_send(fixture, streams[s], &fetch);
    }
    fixture_run(fixture);
    for (uint32_t s = 0; s < 3; s++)
        for (uint32_t i = 0; i < 4; i++) {
            struct bytes frame = fixture_frame(fixture, streams[s]);
            cr_assert_gt(frame.count, 600000u, "stream %u, answer %u", s, i);
        }
    fixture_free(fixture);
}

Test(gate_fetch, answers_empty_when_a_slow_reader_keeps_the_memory, .timeout = 20)
{
    struct fixture *fixture = fixture_new(&(struct fixture_options){.response_bytes = MIB});
    uint32_t slow = fixture_connect(fixture);
    uint32_t other = fixture_connect(fixture);
    struct fixture_fetch fetch = plain(11);

    fixture_append(fixture, 0, 6, 100 * 1000);
    fixture->streams[slow].stuck = true;
    fixture_fetch_send(fixture, slow, &fetch);
    fixture_run(fixture);
    fixture_advance(fixture, 5 * NS_PER_S);
    fixture_fetch_send(fixture, other, &fetch);
    fixture_run(fixture);
    cr_assert_eq(fixture_frame(fixture, other).at, NULL);
    fixture_advance(fixture, 26 * NS_PER_S);
    cr_assert(fixture_closed(fixture, slow), "the slow reader is cut off");
    cr_assert_gt(fixture_frame(fixture, other).count, 600000u);
    fixture_free(fixture);
}

Test(gate_fetch, gives_everything_back_when_the_client_goes_in_any_phase, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_fetch fetch = plain(11);

    fixture_append(fixture, 1, 1, 1000);
    for (uint32_t partitions = 1; partitions <= 4; partitions += 3) {
        for (uint32_t steps = 0; steps < 8; steps++) {
            uint32_t stream = fixture_connect(fixture);
            fetch.partition_count = partitions;
            fetch.min_bytes = steps % 2 == 0 ? 1 : 5000;
            fixture_fetch_send(fixture, stream, &fetch);
            fixture_end(fixture, stream);
            fixture->log_held = steps % 3 == 0;
            for (uint32_t i = 0; i < steps; i++)
                fixture_step(fixture);
            fixture->streams[stream].shut = true;
            fixture->log_held = false;
            fixture_run(fixture);
        }
    }
    fixture_append(fixture, 0, 1, 10); /* its mark finds nobody */
    fixture_free(fixture);
}

Test(gate_fetch, notices_that_its_topic_is_gone_while_it_waits, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_fetch fetch = plain(11);

    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    fixture->partitions[0].incarnation = 999; /* the log tile forgets it first */
    fixture_topic_gone(fixture, "t", 1);
    fixture_run(fixture);
    struct kafka_fetch_response response = answer(fixture, stream, 11);
    cr_assert_eq(partition_of(&response, 0)->error, 3);
    fixture_free(fixture);
}

Test(gate_fetch, wakes_all_who_wait_for_the_same_partition, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_fetch fetch = plain(11);
    uint32_t streams[20];

    for (uint32_t round = 0; round < 3; round++) {
        fetch.offset = (int64_t)fixture->partitions[0].end_offset;
        for (uint32_t i = 0; i < 20; i++) {
            if (round == 0)
                streams[i] = fixture_connect(fixture);
            fixture_fetch_send(fixture, streams[i], &fetch);
        }
        fixture_run(fixture);
        fixture_append(fixture, 0, 1, 10);
        fixture_run(fixture);
        for (uint32_t i = 0; i < 20; i++)
            cr_assert_neq(
                fixture_frame(fixture, streams[i]).at, NULL, "round %u, reader %u", round, i);
    }
    fixture_free(fixture);
}

Test(gate_fetch, looks_again_by_itself_when_marks_are_short, .timeout = 20)
{
    /* Eight response slots: at most four credits, so only two partitions may be armed. */
    struct fixture *fixture = fixture_new(&(struct fixture_options){.ring_slots = 8});
    uint32_t streams[4];
    struct fixture_fetch fetch = plain(11);

    fixture_topic(fixture, "u", 2, 10, 8);
    fetch.topic = "u";
    fetch.partition_count = 8;
    streams[0] = fixture_connect(fixture);
    fixture_fetch_send(fixture, streams[0], &fetch);
    fixture_run(fixture);
    cr_assert_gt(fixture_counter(&gate_counters(fixture->gate)->fetches_unarmed), 0u);
    fixture_append(fixture, 17, 1, 10);
    fixture_advance(fixture, 50 * NS_PER_MS);
    cr_assert_neq(fixture_frame(fixture, streams[0]).at, NULL);
    fixture_free(fixture);
}

Test(gate_fetch, gathers_from_several_log_tiles, .timeout = 20)
{
    struct fixture *fixture = fixture_new(&(struct fixture_options){.two_log_tiles = true});
    uint32_t stream = fixture_connect(fixture);
    struct fixture_fetch fetch = plain(11);

    fetch.partition_count = 4;
    fetch.min_bytes = 3000;
    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_eq(fixture_frame(fixture, stream).at, NULL);
        fixture_append(fixture, i, 1, 900);
        fixture_run(fixture);
    }
    struct kafka_fetch_response response = answer(fixture, stream, 11);
    for (uint32_t i = 0; i < 4; i++)
        cr_assert_gt(partition_of(&response, i)->records.count, 900u);
    fixture_free(fixture);
}

Test(gate_fetch, is_not_confused_by_a_mark_that_overtakes_the_answer_to_its_arming, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_fetch fetch = plain(11);

    fetch.min_bytes = 2000;
    fixture->mark_first = true;
    fixture_append(fixture, 0, 1, 500);
    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    cr_assert_not(fixture->mark_first);
    cr_assert_eq(fixture_frame(fixture, stream).at, NULL);
    fixture_append(fixture, 0, 2, 500);
    fixture_run(fixture);
    struct kafka_fetch_response response = answer(fixture, stream, 11);
    cr_assert_geq(partition_of(&response, 0)->records.count, 2000u);
    fixture_free(fixture);
}

Test(gate_fetch, reads_only_as_the_first_of_its_connection, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_fetch fetch = plain(11);

    fixture_append(fixture, 0, 6, 100 * 1000);
    fixture->streams[stream].stuck = true;
    for (uint32_t i = 0; i < 6; i++)
        fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    cr_assert_eq(fixture_counter(&gate_gauges(fixture->gate)->requests), 6u);
    cr_assert_leq(fixture_counter(&gate_gauges(fixture->gate)->response_used_bytes), MIB);
    fixture->streams[stream].stuck = false;
    fixture_run(fixture);
    for (uint32_t i = 0; i < 6; i++)
        cr_assert_gt(fixture_frame(fixture, stream).count, 600000u);
    fixture_free(fixture);
}

Test(gate_fetch, committed_readers_get_what_is_stable_and_what_to_skip, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_partition *log = &fixture->partitions[0];

    for (uint32_t i = 0; i < 5; i++)
        fixture_append(fixture, 0, 2, 100);
    log->open_offset = 8;
    log->aborted[0] = (struct request_aborted){.producer_id = 70, .first_offset = 0};
    log->aborted_last[0] = 1;
    log->aborted[1] = (struct request_aborted){.producer_id = 71, .first_offset = 2};
    log->aborted_last[1] = 7;
    log->aborted[2] = (struct request_aborted){.producer_id = 72, .first_offset = 4};
    log->aborted_last[2] = 6;
    log->aborted_count = 3;
    for (int16_t version = 4; version <= 17; version++) {
        struct fixture_fetch fetch = plain(version);
        fetch.offset = 3;
        fetch.isolation_level = 1;
        fetch.min_bytes = version % 2 == 0 ? 1 : 2; /* read at once, or probed first */
        fixture_fetch_send(fixture, stream, &fetch);
        fixture_run(fixture);
        struct kafka_fetch_response response = answer(fixture, stream, version);
        const struct kafka_fetch_response_partition *partition = partition_of(&response, 0);
        cr_assert_eq(partition->error, 0);
        cr_assert_eq(partition->high_watermark, 10);
        cr_assert_eq(partition->last_stable_offset, 8);
        cr_assert_eq(partition->aborted.count, 2u, "version %d", version);
        uint64_t seen = 0;
        for (uint32_t i = 0; i < 2; i++) {
            int64_t id = partition->aborted.at[i].producer_id;
            cr_assert_eq(partition->aborted.at[i].first_offset, id == 71 ? 2 : 4);
            seen |= UINT64_C(1) << (id - 70);
        }
        cr_assert_eq(seen, 6u);
        const uint8_t *last = partition->records.at;
        cr_assert_eq(get_u64_be(last), 2u);
        while (last + record_batch_bytes(last) < partition->records.at + partition->records.count)
            last += record_batch_bytes(last);
        cr_assert_eq(get_u64_be(last), 6u, "nothing above the last stable offset");

        fetch.isolation_level = 0;
        fixture_fetch_send(fixture, stream, &fetch);
        fixture_run(fixture);
        response = answer(fixture, stream, version);
        partition = partition_of(&response, 0);
        cr_assert_eq(partition->last_stable_offset, 10);
        cr_assert_eq(partition->aborted.count, 0u);
    }
    fixture_free(fixture);
}

Test(gate_fetch, a_committed_reader_wakes_when_the_last_stable_offset_moves, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t committed = fixture_connect(fixture);
    uint32_t other = fixture_connect(fixture);
    struct fixture_partition *log = &fixture->partitions[0];
    struct fixture_fetch fetch = plain(11);

    for (uint32_t round = 0; round < 2; round++) {
        uint64_t before = log->end_offset;
        fetch.offset = (int64_t)before;
        fetch.isolation_level = 1;
        fetch.min_bytes = 1 + (int32_t)round;
        fixture_append(fixture, 0, 2, 100);
        log->open_offset = before;
        if (before == 0)
            log->open_offset = 1; /* 0 means none */
        fetch.offset = (int64_t)log->open_offset;
        fixture_fetch_send(fixture, committed, &fetch);
        int32_t correlation = fixture->correlation;
        fixture_run(fixture);
        cr_assert_eq(fixture_frame(fixture, committed).at, NULL, "all is undecided");
        /* Somebody who reads everything waits at the same place, and is not held back. */
        fetch.isolation_level = 0;
        fetch.min_bytes = 1;
        fetch.offset = (int64_t)log->end_offset;
        fixture_fetch_send(fixture, other, &fetch);
        fixture_run(fixture);
        cr_assert_eq(fixture_frame(fixture, other).at, NULL);
        uint32_t reads = fixture->reads + fixture->probes;
        fixture_append(fixture, 0, 1, 100);
        fixture_run(fixture);
        struct kafka_fetch_response response = answer(fixture, other, 11);
        cr_assert_gt(partition_of(&response, 0)->records.count, 61u);
        cr_assert_eq(fixture_frame(fixture, committed).at, NULL);
        for (uint32_t i = 0; i < 5; i++) {
            fixture_append(fixture, 0, 1, 100);
            fixture_run(fixture);
        }
        cr_assert_leq(fixture->reads + fixture->probes, reads + 3, "it does not look in vain");
        cr_assert_eq(fixture_frame(fixture, committed).at, NULL);
        fixture_close(fixture, 0);
        fixture_run(fixture);
        response = fixture_fetch_response(fixture_frame(fixture, committed), 11, correlation);
        cr_assert_gt(partition_of(&response, 0)->records.count, 61u);
        cr_assert_eq(partition_of(&response, 0)->last_stable_offset, (int64_t)log->end_offset);
    }
    fixture_free(fixture);
}
