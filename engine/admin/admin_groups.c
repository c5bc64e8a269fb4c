/* Groups as JSON: all of them with their lag in sums, or one with members and offsets. Runs on
 * control's thread. */
#include "engine/admin/admin_internal.h"

json_t *
admin__text(struct bytes bytes)
{
    json_t *text = bytes.at == NULL ? json_null()
                                    : json_stringn((const char *)bytes.at, bytes.count);

    return text != NULL ? text : json_string("\xEF\xBF\xBD");
}

static void
set_number(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

static json_t *
build_offset(const struct admin_offset *offset)
{
    json_t *row = json_object();

    json_object_set_new(row, "topic", admin__text(offset->offset.topic));
    set_number(row, "partition", offset->offset.partition);
    json_object_set_new(row, "committed_offset", json_integer(offset->offset.offset));
    json_object_set_new(row, "commit_ms", json_integer(offset->offset.commit_ms));
    if (offset->end == NULL)
        return row; /* the partition is not there, or not served */
    set_number(row, "high_watermark", admin__get(offset->end));
    set_number(row, "lag_records", offset->lag_records);
    json_object_set_new(row, "lag_seconds", json_real((double)offset->lag_ms / 1e3));
    return row;
}

static json_t *
build_members(const struct groups *groups, struct bytes id)
{
    struct group_member_view member;
    json_t *members = json_array();
    uint32_t cursor = UINT32_MAX;

    while (groups_next_member(groups, id, &cursor, &member)) {
        json_t *row = json_object();
        json_object_set_new(row, "member", admin__text(member.id));
        json_object_set_new(row, "instance", admin__text(member.instance));
        json_object_set_new(row, "client", admin__text(member.client_id));
        json_object_set_new(row, "host", admin__text(member.client_host));
        json_array_append_new(members, row);
    }
    return members;
}

/* Sums over the group's offsets, of which *budget may still be looked at; list: gets each, or NULL.
 */
static json_t *
build_group(struct admin *admin,
            const struct groups *groups,
            const struct group_view *view,
            uint32_t *budget,
            json_t *list)
{
    struct admin_offset offset = {.group = view->id};
    json_t *row = json_object();
    uint32_t cursor = UINT32_MAX;
    uint64_t lag_records = 0;
    uint64_t lag_ms = 0;

    while (*budget > 0 && groups_next_offset(groups, view->id, &cursor, &offset.offset)) {
        (*budget)--;
        admin__fill_lag(admin, &offset);
        lag_records += offset.lag_records;
        lag_ms = max_u64(lag_ms, offset.lag_ms);
        if (list != NULL)
            json_array_append_new(list, build_offset(&offset));
    }
    json_object_set_new(row, "group", admin__text(view->id));
    json_object_set_new(row, "state", json_string(group_state_name(view->state)));
    json_object_set_new(row, "generation", json_integer(view->generation));
    set_number(row, "member_count", view->member_count);
    set_number(row, "offset_count", view->offset_count);
    set_number(row, "lag_records", lag_records);
    json_object_set_new(row, "lag_seconds", json_real((double)lag_ms / 1e3)); /* the greatest */
    return row;
}

/* NULL in admin->document: no such group. */
void
admin__build_groups(struct control *control, void *ctx)
{
    struct admin *admin = ctx;
    const struct groups *groups = control_groups(control);
    uint32_t budget = ADMIN_LAG_OFFSETS_MAX;
    struct group_view view;
    uint32_t cursor = 0;

    admin__sample_lag(admin, control);
    admin->walked = control;
    json_t *rows = json_array();
    while (groups != NULL && groups_next(groups, &cursor, &view)) {
        const char *wanted = admin->want_id;
        json_t *list = wanted != NULL ? json_array() : NULL;
        if (wanted != NULL &&
            (view.id.count != strlen(wanted) || memcmp(view.id.at, wanted, view.id.count) != 0)) {
            json_decref(list);
            continue;
        }
        json_t *row = build_group(admin, groups, &view, &budget, list);
        if (wanted != NULL) {
            json_object_set_new(row, "members", build_members(groups, view.id));
            json_object_set_new(row, "offsets", list);
        }
        json_array_append_new(rows, row);
    }
    if (admin->want_id != NULL) {
        admin->document = json_incref(json_array_get(rows, 0));
        json_decref(rows);
        return;
    }
    admin->document = json_object();
    json_object_set_new(admin->document, "groups", rows);
    json_object_set_new(admin->document, "limited", json_boolean(budget == 0));
}
