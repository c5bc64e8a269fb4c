/* DescribeClientQuotas (48) and AlterClientQuotas (49): limits of client ids (KIP-546).
 *
 * Clients do not authenticate here and addresses have no limits, so users and IP addresses are
 * refused by name when they are to be altered, and nobody has any when they are described. What a
 * client id's limits become is decided by the operation, when it is its turn, so that of two
 * changes neither undoes the other. Altering twice has the same result: an answer without room is
 * simply asked for again. */
#include "engine/control/control_internal.h"

#define ENTRIES_PER_REQUEST_MAX 4096u
#define OPS_PER_ENTRY_MAX 16u

enum { MATCH_EXACT = 0, MATCH_DEFAULT = 1, MATCH_ANY = 2 };
enum quota_wait { QUOTA_NOTHING, QUOTA_START };

static const char *const kind_keys[QUOTA_KIND_COUNT] = {
    [QUOTA_PRODUCE] = "producer_byte_rate",
    [QUOTA_FETCH] = "consumer_byte_rate",
    [QUOTA_REQUEST] = "request_percentage",
};
static const char client_id_type[] = "client-id";

static enum quota_kind
kind_of(struct bytes key)
{
    uint32_t kind = 0;

    while (kind < QUOTA_KIND_COUNT && !control__same(key, control__text(kind_keys[kind])))
        kind++;
    return (enum quota_kind)kind;
}

/* ---- DescribeClientQuotas */

/* What entities a filter asks for. */
struct filter {
    bool nothing; /* names a type of which there are none, or is strict without naming client ids */
    int8_t match;
    struct bytes name;
};

/* Reads the filter; NULL, or why it is none. */
static const char *
read_filter(const struct kafka_describe_client_quotas_request *request, struct filter *filter)
{
    bool named = false;

    *filter = (struct filter){.match = MATCH_ANY};
    for (uint32_t i = 0; i < request->components.count; i++) {
        const struct kafka_describe_client_quotas_request_component *part =
            &request->components.at[i];
        bool has_name = part->match.at != NULL;
        if (part->entity_type.count == 0)
            return "an entity type is empty";
        for (uint32_t k = 0; k < i; k++) {
            if (control__same(request->components.at[k].entity_type, part->entity_type))
                return "an entity type is named twice";
        }
        if (part->match_type < MATCH_EXACT || part->match_type > MATCH_ANY)
            return "no such match type";
        if (has_name != (part->match_type == MATCH_EXACT))
            return "a name goes with an exact match, and only with that";
        if (control__same(part->entity_type, control__text(client_id_type))) {
            named = true;
            filter->match = part->match_type;
            filter->name = part->match;
        } else {
            filter->nothing = true;
        }
    }
    filter->nothing = filter->nothing || (request->strict && !named);
    return NULL;
}

static bool
filter_takes(const struct filter *filter, const struct quota_entity *entity)
{
    struct bytes name = {(const uint8_t *)entity->name, entity->name_count};

    if (filter->nothing || entity->set == 0)
        return false;
    if (filter->match == MATCH_ANY)
        return true;
    if (entity->is_default)
        return filter->match == MATCH_DEFAULT;
    return filter->match == MATCH_EXACT && control__same(name, filter->name);
}

static bool
build_entry(const struct quota_entity *entity,
            struct kafka_arena *arena,
            struct kafka_describe_client_quotas_response_entry *ret)
{
    struct kafka_describe_client_quotas_response_entity *who = kafka_arena_take(arena,
                                                                                sizeof(*who));
    struct kafka_describe_client_quotas_response_value *values = kafka_arena_take(
        arena, sizeof(*values) * QUOTA_KIND_COUNT);

    if (who == NULL || values == NULL)
        return false;
    kafka_describe_client_quotas_response_entry_defaults(ret);
    kafka_describe_client_quotas_response_entity_defaults(who);
    who->entity_type = control__text(client_id_type);
    if (!entity->is_default)
        who->entity_name = (struct bytes){(const uint8_t *)entity->name, entity->name_count};
    ret->entity.at = who;
    ret->entity.count = 1;
    ret->values.at = values;
    for (uint32_t kind = 0; kind < QUOTA_KIND_COUNT; kind++) {
        if ((entity->set >> kind & 1) == 0)
            continue;
        values[ret->values.count++] = (struct kafka_describe_client_quotas_response_value){
            .key = control__text(kind_keys[kind]), .value = entity->limits[kind]};
    }
    return true;
}

static enum rc
describe_begin(struct control *control, struct control_call *call)
{
    (void)control;
    (void)call;
    return RC_OK;
}

static void *
describe_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct quota_entities *quotas = &control->store.quotas;
    struct kafka_describe_client_quotas_response *response = kafka_arena_take(arena,
                                                                              sizeof(*response));
    struct kafka_describe_client_quotas_response_entry *entries = kafka_arena_take(
        arena, sizeof(*entries) * (quotas->count + 1));
    struct filter filter;
    uint32_t cursor = 0;

    if (response == NULL || entries == NULL)
        return NULL;
    kafka_describe_client_quotas_response_defaults(response);
    const char *wrong = read_filter(call->message, &filter);
    if (wrong != NULL) {
        response->error = KAFKA_ERROR_INVALID_REQUEST;
        response->error_message = control__text(wrong);
        return response;
    }
    response->entries.at = entries;
    const struct quota_entity *entity = &quotas->fallback;
    for (; entity != NULL; entity = quota_entities_next(quotas, &cursor)) {
        if (!filter_takes(&filter, entity))
            continue;
        if (!build_entry(entity, arena, &entries[response->entries.count++]))
            return NULL;
    }
    return response;
}

const struct control_api control__api_describe_client_quotas = {
    .key = KAFKA_DESCRIBE_CLIENT_QUOTAS,
    .begin = describe_begin,
    .finish = describe_finish,
};

/* ---- AlterClientQuotas: what a request may ask */

static void
refuse(struct control_call *call, uint32_t idx, struct bytes about, const char *why)
{
    struct diag_trail trail;

    diag_trail_clear(&trail);
    diag_trail_add(&trail,
                   "%.*s: %s",
                   (int)min_u64(about.count, 100),
                   about.at != NULL ? (const char *)about.at : "",
                   why);
    control__item_refuse(call, &call->items[idx], KAFKA_ERROR_INVALID_REQUEST, trail.text);
}

static bool
check_entity(struct control_call *call,
             uint32_t idx,
             const struct kafka_alter_client_quotas_request_entry *entry)
{
    if (entry->entity.count == 0) {
        refuse(call, idx, control__text("entity"), "nobody is named");
        return false;
    }
    for (uint32_t i = 0; i < entry->entity.count; i++) {
        struct bytes type = entry->entity.at[i].entity_type;
        const char *why = NULL;
        if (control__same(type, control__text("user")))
            why = "clients do not authenticate here, so only a client-id can have limits";
        else if (control__same(type, control__text("ip")))
            why = "there is no limit of connections per address; only a client-id can have limits";
        else if (!control__same(type, control__text(client_id_type)))
            why = "no such entity type";
        else if (i > 0)
            why = "the entity type is named twice";
        else if (entry->entity.at[i].entity_name.count > QUOTA_NAME_MAX)
            why = "the name is longer than 249 bytes";
        if (why == NULL)
            continue;
        refuse(call, idx, type, why);
        return false;
    }
    return true;
}

/* Why a value cannot be; NULL: it can. */
static const char *
value_fault(const struct kafka_alter_client_quotas_request_op *op, enum quota_kind kind)
{
    if (op->remove)
        return NULL;
    /* Written so that what is no number is refused, too. */
    if (!(op->value > 0 && op->value < (double)INT64_MAX))
        return "the value must be greater than 0 and fit 63 bits";
    if (kind != QUOTA_REQUEST && op->value != (double)(int64_t)op->value)
        return "the value must be whole";
    return NULL;
}

static bool
check_op(struct control_call *call,
         uint32_t idx,
         const struct kafka_alter_client_quotas_request_entry *entry,
         uint32_t op_idx)
{
    const struct kafka_alter_client_quotas_request_op *op = &entry->ops.at[op_idx];
    enum quota_kind kind = kind_of(op->key);
    const char *why = NULL;

    if (control__same(op->key, control__text("controller_mutation_rate")))
        why = "changes of topics are not limited by rate here";
    else if (control__same(op->key, control__text("connection_creation_rate")))
        why = "connections are not limited by rate here";
    else if (kind == QUOTA_KIND_COUNT)
        why = "no such limit";
    else
        why = value_fault(op, kind);
    for (uint32_t i = 0; i < op_idx && why == NULL; i++) {
        if (control__same(entry->ops.at[i].key, op->key))
            why = "is named twice";
    }
    if (why != NULL)
        refuse(call, idx, op->key, why);
    return why == NULL;
}

static void
check_entry(struct control_call *call, uint32_t idx)
{
    const struct kafka_alter_client_quotas_request *request = call->message;
    const struct kafka_alter_client_quotas_request_entry *entry = &request->entries.at[idx];
    bool good = check_entity(call, idx, entry);

    if (good && entry->ops.count > OPS_PER_ENTRY_MAX) {
        refuse(call, idx, control__text("ops"), "more than there are limits");
        good = false;
    }
    for (uint32_t i = 0; i < entry->ops.count && good; i++)
        good = check_op(call, idx, entry, i);
    call->items[idx].waits = good ? QUOTA_START : QUOTA_NOTHING;
}

static enum rc
alter_begin(struct control *control, struct control_call *call)
{
    const struct kafka_alter_client_quotas_request *request = call->message;
    uint32_t count = request->entries.count;

    (void)control;
    if (count > ENTRIES_PER_REQUEST_MAX || !control__items_take(call, count))
        return RC_LIMIT;
    for (uint32_t i = 0; i < count; i++)
        check_entry(call, i);
    return RC_OK;
}

/* ---- what becomes of it */

bool
control__altered_quota(const struct control *control,
                       const struct control_call *call,
                       uint32_t item,
                       struct quota_entity *ret_quota)
{
    const struct kafka_alter_client_quotas_request *request = call->message;
    const struct kafka_alter_client_quotas_request_entry *entry = &request->entries.at[item];
    struct bytes name = entry->entity.at[0].entity_name;
    struct quota_entity quota = {.is_default = name.at == NULL, .name_count = (uint8_t)name.count};

    bytes_copy(quota.name, sizeof(quota.name) - 1, name.at, name.count);
    const struct quota_entity *now = quota.is_default
                                         ? &control->store.quotas.fallback
                                         : quota_entities_find(&control->store.quotas, name);
    const struct quota_entity before = now != NULL ? *now : quota;
    quota.set = before.set;
    for (uint32_t kind = 0; kind < QUOTA_KIND_COUNT; kind++)
        quota.limits[kind] = before.limits[kind];
    for (uint32_t i = 0; i < entry->ops.count; i++) {
        const struct kafka_alter_client_quotas_request_op *op = &entry->ops.at[i];
        enum quota_kind kind = kind_of(op->key);
        CHECK(kind < QUOTA_KIND_COUNT); /* checked when the request began */
        uint32_t others = quota.set & ~(1u << kind);
        quota.set = (uint8_t)(op->remove ? others : others | 1u << kind);
        quota.limits[kind] = op->remove ? 0 : op->value;
    }
    *ret_quota = quota;
    bool same = quota.set == before.set;
    for (uint32_t kind = 0; kind < QUOTA_KIND_COUNT && same; kind++)
        same = quota.limits[kind] == before.limits[kind];
    return !same;
}

/* validate_only: whether there would be room, at this moment. */
static void
validate(struct control *control, struct control_call *call, uint32_t idx)
{
    struct quota_entity quota;

    call->items[idx].waits = QUOTA_NOTHING;
    if (control__altered_quota(control, call, idx, &quota) &&
        quota_entities_check(&control->store.quotas, &quota) != RC_OK)
        refuse(call, idx, control__text(client_id_type), "quota.entities_max is reached");
}

static bool
alter_issue(struct control *control, struct control_call *call, uint32_t idx)
{
    const struct kafka_alter_client_quotas_request *request = call->message;
    const struct topic_record record = {.kind = TOPIC_RECORD_QUOTA};
    const struct operation_request operation = {
        .kind = OPERATION_QUOTA,
        .call = (uint32_t)(call - control->calls),
        .item = idx,
        .record = &record,
    };

    if (call->items[idx].waits != QUOTA_START)
        return true;
    if (request->validate_only) {
        validate(control, call, idx);
        return true;
    }
    if (control__operation_start(control, &operation) == CONTROL_NONE)
        return false;
    call->outstanding++;
    return true;
}

static bool
build_result(const struct control_call *call,
             uint32_t idx,
             struct kafka_arena *arena,
             struct kafka_alter_client_quotas_response_entry *ret)
{
    const struct kafka_alter_client_quotas_request *request = call->message;
    const struct kafka_alter_client_quotas_request_entry *entry = &request->entries.at[idx];
    struct kafka_alter_client_quotas_response_entity *entities = kafka_arena_take(
        arena, sizeof(*entities) * (entry->entity.count + 1));

    if (entities == NULL)
        return false;
    kafka_alter_client_quotas_response_entry_defaults(ret);
    ret->error = call->items[idx].error;
    ret->error_message = call->items[idx].message;
    ret->entity.at = entities;
    ret->entity.count = entry->entity.count;
    for (uint32_t i = 0; i < entry->entity.count; i++)
        entities[i] = (struct kafka_alter_client_quotas_response_entity){
            .entity_type = entry->entity.at[i].entity_type,
            .entity_name = entry->entity.at[i].entity_name};
    return true;
}

static void *
alter_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    struct kafka_alter_client_quotas_response *response = kafka_arena_take(arena,
                                                                           sizeof(*response));
    struct kafka_alter_client_quotas_response_entry *entries = kafka_arena_take(
        arena, sizeof(*entries) * (call->item_count + 1));

    (void)control;
    if (response == NULL || entries == NULL)
        return NULL;
    kafka_alter_client_quotas_response_defaults(response);
    response->entries.at = entries;
    response->entries.count = call->item_count;
    for (uint32_t i = 0; i < call->item_count; i++) {
        if (!build_result(call, i, arena, &entries[i]))
            return NULL;
    }
    return response;
}

const struct control_api control__api_alter_client_quotas = {
    .key = KAFKA_ALTER_CLIENT_QUOTAS,
    .begin = alter_begin,
    .issue = alter_issue,
    .finish = alter_finish,
};
