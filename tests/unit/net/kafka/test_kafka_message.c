/* Goal: the table is sound, and the walker keeps its promises on nulls, defaults, tags, counts and
 * memory. Method: facts about all rows of messages.def; hand-made bodies, bad ones first. */
#include "net/kafka/kafka_frame.h"
#include "net/kafka/kafka_message.h"

#include <criterion/criterion.h>
#include <string.h>

#define ARENA_BYTES 4096

static uint8_t arena_memory[ARENA_BYTES];

static struct kafka_arena
fresh_arena(void)
{
    memset(arena_memory, 0xcc, sizeof(arena_memory));
    return kafka_arena_over(arena_memory, sizeof(arena_memory));
}

static enum rc
decode_metadata(const uint8_t *body,
                size_t count,
                int16_t version,
                struct kafka_metadata_request *ret)
{
    struct kafka_arena arena = fresh_arena();
    struct reader reader = reader_over(body, count);

    return kafka_metadata_request_decode(&reader, version, &arena, ret);
}

Test(kafka_decode, refuses_counts_the_body_cannot_hold, .timeout = 10)
{
    static const uint8_t huge[] = {0x7f, 0xff, 0xff, 0xff, 0, 1, 'a'};
    static const uint8_t one_too_many[] = {0, 0, 0, 2, 0, 1, 'a'};
    static const uint8_t below_null[] = {0xff, 0xff, 0xff, 0xfe};
    static const uint8_t endless_count[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct kafka_metadata_request request;

    cr_assert_eq(decode_metadata(huge, sizeof(huge), 1, &request), RC_MALFORMED);
    cr_assert_eq(decode_metadata(one_too_many, sizeof(one_too_many), 1, &request), RC_MALFORMED);
    cr_assert_eq(decode_metadata(below_null, sizeof(below_null), 1, &request), RC_MALFORMED);
    cr_assert_eq(decode_metadata(endless_count, sizeof(endless_count), 9, &request), RC_MALFORMED);
}

/* Ten resources of at least 7 bytes each are promised 70; the first one's 35 keys want the same
 * bytes again. */
Test(kafka_decode, counts_on_no_byte_twice, .timeout = 10)
{
    uint8_t body[4 + 7 + 70] = {0, 0, 0, 10, 2, 0, 0, 0, 0, 0, 35};
    struct kafka_arena arena = kafka_arena_over(
        arena_memory, 10 * sizeof(struct kafka_describe_configs_resource));
    struct reader reader = reader_over(body, sizeof(body));
    struct kafka_describe_configs_request request;

    cr_assert_eq(kafka_describe_configs_request_decode(&reader, 1, &arena, &request), RC_MALFORMED);
}

Test(kafka_decode, refuses_null_where_the_version_has_none, .timeout = 10)
{
    static const uint8_t null_array[] = {0xff, 0xff, 0xff, 0xff};
    static const uint8_t null_name[] = {0, 0, 0, 1, 0xff, 0xff};
    struct kafka_metadata_request request;

    cr_assert_eq(decode_metadata(null_array, sizeof(null_array), 0, &request), RC_MALFORMED);
    cr_assert_eq(decode_metadata(null_array, sizeof(null_array), 1, &request), RC_OK);
    cr_assert_eq(decode_metadata(null_name, sizeof(null_name), 1, &request), RC_MALFORMED);
}

Test(kafka_decode, tells_null_from_empty, .timeout = 10)
{
    static const uint8_t null_array[] = {0xff, 0xff, 0xff, 0xff};
    static const uint8_t empty_array[] = {0, 0, 0, 0};
    struct kafka_metadata_request request;

    cr_assert_eq(decode_metadata(null_array, sizeof(null_array), 1, &request), RC_OK);
    cr_assert_null(request.topics.at);
    cr_assert_eq(decode_metadata(empty_array, sizeof(empty_array), 1, &request), RC_OK);
    cr_assert_not_null(request.topics.at);
    cr_assert_eq(request.topics.count, 0u);
}

Test(kafka_decode, gives_absent_fields_their_values, .timeout = 10)
{
    static const uint8_t body[] = {0, 0, 0, 0};
    struct kafka_metadata_request request;
    struct kafka_init_producer_id_response response;

    cr_assert_eq(decode_metadata(body, sizeof(body), 3, &request), RC_OK);
    cr_assert(request.allow_auto_topic_creation, "versions below 4 create topics");
    cr_assert(!request.include_topic_authorized_operations);
    kafka_init_producer_id_response_defaults(&response);
    cr_assert_eq(response.producer_id, -1);
    struct kafka_metadata_topic topic;
    kafka_metadata_topic_defaults(&topic);
    cr_assert_eq(topic.authorized_operations, INT32_MIN);
}

Test(kafka_decode, skips_unknown_tags_and_checks_known_ones, .timeout = 10)
{
    /* Fetch 12 without topics; then tagged sections with tag 0 (cluster id) and an unknown 77. */
    static const uint8_t head[] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0,
                                   1,    0,    0,    0,    0, 0, 0, 0, 0, 0, 0, 1, 1, 1};
    static const uint8_t good[] = {2, 0, 3, 3, 'i', 'd', 77, 2, 9, 9};
    static const uint8_t too_long[] = {1, 0, 4, 3, 'i', 'd', 0};
    static const uint8_t too_short[] = {1, 0, 2, 3, 'i', 'd'};
    static const uint8_t endless[] = {0xff, 0xff, 0xff, 0xff, 0x0f};
    const struct bytes tails[] = {{too_long, sizeof(too_long)},
                                  {too_short, sizeof(too_short)},
                                  {endless, sizeof(endless)},
                                  {good, sizeof(good)}};

    for (size_t i = 0; i < ARRAY_COUNT(tails); i++) {
        uint8_t body[64];
        struct kafka_fetch_request request;
        struct kafka_arena arena = fresh_arena();
        memcpy(body, head, sizeof(head));
        memcpy(body + sizeof(head), tails[i].at, tails[i].count);
        struct reader reader = reader_over(body, sizeof(head) + tails[i].count);
        enum rc rc = kafka_fetch_request_decode(&reader, 12, &arena, &request);
        cr_expect_eq(rc, i == 3 ? RC_OK : RC_MALFORMED, "tail %zu", i);
        if (rc == RC_OK) {
            cr_expect_eq(request.cluster_id.count, 2u);
            cr_expect_arr_eq(request.cluster_id.at, "id", 2);
        }
    }
}

Test(kafka_decode, reads_an_optional_struct_or_none, .timeout = 10)
{
    static const uint8_t cut[] = {0, 0, 0, 0, 10, 1};
    static const uint8_t none[] = {1, 0, 0, 0, 10, 0xff, 0};
    static const uint8_t cursor[] = {1, 0, 0, 0, 10, 1, 2, 't', 0, 0, 0, 7, 0, 0};
    struct kafka_describe_topic_partitions_request request;
    struct kafka_arena arena = fresh_arena();
    struct reader reader = reader_over(cut, sizeof(cut));

    cr_assert_eq(kafka_describe_topic_partitions_request_decode(&reader, 0, &arena, &request),
                 RC_MALFORMED);
    reader = reader_over(none, sizeof(none));
    cr_assert_eq(kafka_describe_topic_partitions_request_decode(&reader, 0, &arena, &request),
                 RC_OK);
    cr_assert_eq(request.cursor.count, 0);
    reader = reader_over(cursor, sizeof(cursor));
    cr_assert_eq(kafka_describe_topic_partitions_request_decode(&reader, 0, &arena, &request),
                 RC_OK);
    cr_assert_eq(request.cursor.count, 1);
    cr_assert_eq(request.cursor.at[0].index, 7);
    cr_assert_eq(reader_left(&reader), 0);

    uint8_t out[sizeof(cursor)];
    struct writer writer = writer_over(out, sizeof(out));
    kafka_describe_topic_partitions_request_encode(&writer, 0, &request);
    cr_assert(!writer.failed);
    cr_assert_arr_eq(out, cursor, sizeof(cursor));
}

Test(kafka_decode, reads_lists_of_wide_and_narrow_integers_and_doubles, .timeout = 10)
{
    static const int64_t ids[] = {-1, INT64_MAX, 5};
    static const int8_t types[] = {2, -4};
    uint8_t out[64];
    struct kafka_arena arena = fresh_arena();
    struct kafka_list_transactions_request transactions, transactions_read;
    struct kafka_list_config_resources_request resources, resources_read;

    kafka_list_transactions_request_defaults(&transactions);
    transactions.producer_id_filters.at = ids;
    transactions.producer_id_filters.count = ARRAY_COUNT(ids);
    struct writer writer = writer_over(out, sizeof(out));
    kafka_list_transactions_request_encode(&writer, 0, &transactions);
    struct reader reader = reader_over(out, writer_count(&writer));
    cr_assert_eq(kafka_list_transactions_request_decode(&reader, 0, &arena, &transactions_read),
                 RC_OK);
    cr_assert_eq(transactions_read.producer_id_filters.count, ARRAY_COUNT(ids));
    cr_assert_arr_eq(transactions_read.producer_id_filters.at, ids, sizeof(ids));

    kafka_list_config_resources_request_defaults(&resources);
    resources.resource_types.at = types;
    resources.resource_types.count = ARRAY_COUNT(types);
    writer = writer_over(out, sizeof(out));
    kafka_list_config_resources_request_encode(&writer, 1, &resources);
    reader = reader_over(out, writer_count(&writer));
    cr_assert_eq(kafka_list_config_resources_request_decode(&reader, 1, &arena, &resources_read),
                 RC_OK);
    cr_assert_arr_eq(resources_read.resource_types.at, types, sizeof(types));

    const struct kafka_alter_client_quotas_request_op op = {.value = 1048576.5};
    const struct kafka_alter_client_quotas_request_entry entry = {.ops = {.at = &op, .count = 1}};
    const struct kafka_alter_client_quotas_request quotas = {.entries = {.at = &entry, .count = 1}};
    struct kafka_alter_client_quotas_request quotas_read;
    writer = writer_over(out, sizeof(out));
    kafka_alter_client_quotas_request_encode(&writer, 0, &quotas);
    reader = reader_over(out, writer_count(&writer));
    cr_assert_eq(kafka_alter_client_quotas_request_decode(&reader, 0, &arena, &quotas_read), RC_OK);
    cr_assert_float_eq(quotas_read.entries.at[0].ops.at[0].value, 1048576.5, 0.0);
}

Test(kafka_decode, leaves_bytes_behind_the_body_alone, .timeout = 10)
{
    static const uint8_t body[] = {0, 0, 0, 1, 0, 1, 'a', 0x55};
    struct kafka_arena arena = fresh_arena();
    struct reader reader = reader_over(body, sizeof(body));
    struct kafka_metadata_request request;

    cr_assert_eq(kafka_metadata_request_decode(&reader, 1, &arena, &request), RC_OK);
    cr_assert_eq(reader_left(&reader), 1u);
}

Test(kafka_decode, says_when_the_arena_is_full, .timeout = 10)
{
    static const uint8_t body[] = {0, 0, 0, 2, 0, 1, 'a', 0, 1, 'b'};
    size_t need = 2 * sizeof(struct kafka_metadata_request_topic);
    struct kafka_metadata_request request;

    for (size_t room = 0; room <= need; room += 8) {
        struct kafka_arena arena = kafka_arena_over(arena_memory, room);
        struct reader reader = reader_over(body, sizeof(body));
        cr_expect_eq(kafka_metadata_request_decode(&reader, 1, &arena, &request),
                     room < need ? RC_NO_MEMORY : RC_OK);
    }
}

Test(kafka_encode, cuts_strings_too_long_for_their_old_form, .timeout = 10)
{
    static uint8_t text[40000];
    static uint8_t memory[50000];
    struct kafka_find_coordinator_request request = {.key = {.at = text, .count = sizeof(text)}};
    struct writer writer = writer_over(memory, sizeof(memory));

    kafka_find_coordinator_request_encode(&writer, 0, &request);
    cr_assert(!writer.failed);
    cr_assert_eq(writer_count(&writer), 2u + INT16_MAX);
    writer = writer_over(memory, sizeof(memory));
    kafka_find_coordinator_request_encode(&writer, 3, &request);
    cr_assert_eq(writer_count(&writer), 3u + sizeof(text) + 1 + 1);
}

Test(kafka_encode, writes_null_as_empty_where_null_is_not_allowed, .timeout = 10)
{
    uint8_t memory[64];
    struct writer writer = writer_over(memory, sizeof(memory));
    struct kafka_metadata_request request;

    kafka_metadata_request_defaults(&request);
    kafka_metadata_request_encode(&writer, 0, &request);
    cr_assert_eq(writer_count(&writer), 4u);
    cr_assert_eq(get_u32_be(memory), 0u);
    kafka_metadata_request_encode(&writer, 1, &request);
    cr_assert_eq(get_u32_be(memory + 4), UINT32_MAX);
}

Test(kafka_apis, agree_in_both_directions_and_stand_by_key, .timeout = 10)
{
    for (uint32_t i = 0; i < kafka_api_count; i++) {
        const struct kafka_api *api = &kafka_apis[i];
        cr_expect_eq(api->request->flexible_first, api->response->flexible_first, "%s", api->name);
        cr_expect(api->advertised_first <= api->first && api->first <= api->last);
        cr_expect(i == 0 || kafka_apis[i - 1].key < api->key);
        cr_expect_eq(kafka_api_find(api->key), api);
    }
    cr_assert_null(kafka_api_find(-1));
    cr_assert_null(kafka_api_find(4));
}

/* Shortest form of a struct of this type, as the walker reckons it. */
static uint32_t
bytes_min(const struct kafka_type *type, int16_t version, bool flexible)
{
    static const uint8_t plain[KAFKA_KIND_COUNT] = {1, 1, 2, 4, 8, 8, 16, 2, 4, 4, 4, 4, 4, 1, 4};
    static const uint8_t compact[KAFKA_KIND_COUNT] = {1, 1, 2, 4, 8, 8, 16, 1, 1, 1, 1, 1, 1, 1, 1};
    uint32_t bytes = flexible;

    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct kafka_field *field = &type->fields[i];
        if (field->tag < 0 && version >= field->first && version <= field->last)
            bytes += flexible ? compact[field->kind] : plain[field->kind];
    }
    return bytes;
}

/* The element types that stand in a type at this version, added to types[count, ...); returns the
 * new count. */
static uint32_t
add_elements(const struct kafka_type **types,
             uint32_t count,
             const struct kafka_type *type,
             int16_t version)
{
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct kafka_field *field = &type->fields[i];
        if (field->element != NULL && version >= field->first && version <= field->last)
            types[count++] = field->element;
    }
    return count;
}

static void
expect_factor(const struct kafka_api *api, int16_t version)
{
    const struct kafka_type *types[16] = {api->request};
    uint32_t count = 1;
    bool flexible = kafka_api_flexible(api, version);

    /* Breadth first; the message itself is not in the arena. */
    for (uint32_t i = 0; i < count; i++) {
        uint32_t allowed = KAFKA_ARENA_FACTOR * bytes_min(types[i], version, flexible);
        cr_expect(i == 0 || types[i]->struct_bytes <= allowed, "%s %d", types[i]->name, version);
        count = add_elements(types, count, types[i], version);
    }
}

Test(kafka_arena_bytes, suffice_for_the_elements_of_every_request, .timeout = 10)
{
    for (uint32_t i = 0; i < kafka_api_count; i++)
        for (int16_t version = kafka_apis[i].first; version <= kafka_apis[i].last; version++)
            expect_factor(&kafka_apis[i], version);
}

/* ---- the place of the throttle time: messages.def once more, for the names of its fields */

struct named_field {
    const char *owner;
    const char *name;
    int16_t first;
    int16_t last;
    bool is_i32;
};

#define KIND_IS_I32(kind) (KAFKA_KIND_##kind == KAFKA_KIND_I32)
#define EVER KAFKA_VERSION_LAST
#define NEVER KAFKA_VERSION_LAST
static const struct named_field named_fields[] = {
#define STRUCT(name)
#define MESSAGE(name, flexible_first)
#define END(name)
#define FIELD(owner, kind, name, first, last, null_first, value) \
    {#owner, #name, first, last, KIND_IS_I32(kind)},
#define TAGGED(owner, kind, name, tag, first, value)
#define ARRAY(owner, element, name, first, last, null_first) {#owner, #name, first, last, false},
#define OPTION(owner, element, name, first, last, null_first) {#owner, #name, first, last, false},
#include "net/kafka/messages.def"
};
#undef STRUCT
#undef MESSAGE
#undef END
#undef FIELD
#undef TAGGED
#undef ARRAY
#undef OPTION

/* The field of an answer that stands first in a version, NULL: none. */
static const struct named_field *
first_field(const char *owner, int16_t version)
{
    for (size_t i = 0; i < ARRAY_COUNT(named_fields); i++) {
        const struct named_field *field = &named_fields[i];
        if (strcmp(field->owner, owner) == 0 && version >= field->first && version <= field->last)
            return field;
    }
    return NULL;
}

Test(kafka_message, has_the_throttle_time_first_wherever_it_says_so, .timeout = 10)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < kafka_api_count; i++) {
        const struct kafka_api *api = &kafka_apis[i];
        for (int16_t version = api->first; version <= api->last; version++) {
            const struct named_field *field = first_field(api->response->name, version);
            bool named = field != NULL && strcmp(field->name, "throttle_ms") == 0;
            cr_assert_not_null(field, "%s %d", api->name, version);
            int32_t at = api->key == KAFKA_OFFSET_DELETE ? 2 : named ? 0 : -1;
            cr_assert_eq(kafka_throttle_at(api, version), at, "%s %d", api->name, version);
            count += named ? 1 : 0;
        }
    }
    cr_assert_gt(count, 60u);
    /* Where it stands elsewhere, whoever writes that answer fills it in. */
    for (size_t i = 0; i < ARRAY_COUNT(named_fields); i++) {
        const struct named_field *field = &named_fields[i];
        bool elsewhere = strcmp(field->owner, "produce_response") == 0 ||
                         strcmp(field->owner, "api_versions_response") == 0 ||
                         strcmp(field->owner, "offset_delete_response") == 0;
        if (strcmp(field->name, "throttle_ms") == 0 && !elsewhere)
            cr_assert_eq(first_field(field->owner, field->first), field, "%s", field->owner);
    }
}
