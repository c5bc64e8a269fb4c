/* Transactional ids as JSON: all of them, or one with the partitions of its transaction. Runs on
 * control's thread. */
#include "engine/admin/admin_internal.h"

static json_t *
build_partitions(const struct coordinator *coordinator, struct bytes id)
{
    struct transaction_partition_view partition;
    json_t *list = json_array();
    uint32_t cursor = UINT32_MAX;

    while (coordinator_next_partition(coordinator, id, &cursor, &partition)) {
        json_t *row = json_object();
        json_object_set_new(row, "topic", admin__text(partition.topic));
        json_object_set_new(row, "partition", json_integer(partition.partition));
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *
build_transaction(const struct transaction_view *view)
{
    json_t *row = json_object();

    json_object_set_new(row, "id", admin__text(view->id));
    json_object_set_new(row, "state", json_string(transaction_state_name(view->state)));
    json_object_set_new(row, "producer_id", json_integer(view->producer_id));
    json_object_set_new(row, "producer_epoch", json_integer(view->producer_epoch));
    json_object_set_new(row, "timeout_ms", json_integer(view->timeout_ms));
    json_object_set_new(row, "start_ms", json_integer(view->start_ms)); /* -1: none is open */
    json_object_set_new(row, "update_ms", json_integer(view->update_ms));
    json_object_set_new(row, "partition_count", json_integer(view->partition_count));
    return row;
}

/* NULL in admin->document: no such id. */
void
admin__build_transactions(struct control *control, void *ctx)
{
    struct admin *admin = ctx;
    const struct coordinator *coordinator = control_transactions(control);
    const char *wanted = admin->want_id;
    struct transaction_view view;
    json_t *rows = json_array();
    uint32_t cursor = 0;

    while (json_array_size(rows) < ADMIN_TRANSACTIONS_MAX &&
           coordinator_next(coordinator, &cursor, &view)) {
        if (wanted != NULL &&
            (view.id.count != strlen(wanted) || memcmp(view.id.at, wanted, view.id.count) != 0))
            continue;
        json_t *row = build_transaction(&view);
        if (wanted != NULL)
            json_object_set_new(row, "partitions", build_partitions(coordinator, view.id));
        json_array_append_new(rows, row);
    }
    if (wanted != NULL) {
        admin->document = json_incref(json_array_get(rows, 0));
        json_decref(rows);
        return;
    }
    admin->document = json_object();
    json_object_set_new(
        admin->document, "limited", json_boolean(json_array_size(rows) == ADMIN_TRANSACTIONS_MAX));
    json_object_set_new(admin->document, "transactions", rows);
}
