/* The admin port: metrics, health, JSON and the console page, behind net/http.
 *
 *   GET /                one self-contained page that polls the JSON below
 *   GET /metrics         Prometheus text of all tiles and partitions
 *   GET /healthz         200 while the process serves or starts, 503 when its boot has failed
 *   GET /readyz          200 when topics are served, 503 before and while stopping
 *   GET /api/v1/topics   topics; ?partitions=1 adds each partition
 *   GET /api/v1/groups   consumer groups with their lag; ?group=NAME: one, with members and offsets
 *   GET /api/v1/transactions   transactional ids; ?id=NAME: one, with the partitions of its
 * transaction GET /api/v1/tiles    cores, tiles, where their time goes, gates, log tiles, the
 * recovery report
 *
 * Handlers run on HTTP's own thread. What other cores count is read relaxed; control's tables are
 * looked at by a question that control runs in its own poll (control_ask), waited for ADMIN_WAIT_MS
 * at most, then answered with 503. */
#ifndef EAGRE_ENGINE_ADMIN_ADMIN_H
#define EAGRE_ENGINE_ADMIN_ADMIN_H

#include "engine/broker/broker.h"
#include "engine/control/control.h"
#include "engine/metrics/metrics.h"
#include "engine/tile/tile.h"
#include "log/recover/recover.h"
#include "net/door/door.h"
#include "net/exchange/exchange.h"
#include "net/gate/gate.h"

#define ADMIN_CORES_MAX 34u
#define ADMIN_WAIT_MS 2000u

/* All pointers are borrowed until admin_stop(). Unused entries of arrays may be NULL. */
struct admin_config {
    const char *host;
    uint16_t port;       /* 0 takes a free one */
    const char *version; /* "0.1.0" */
    struct control *control;
    struct waker *control_waker;               /* NULL: control is polled without sleep (tests) */
    const struct core *cores[ADMIN_CORES_MAX]; /* every core with its tiles */
    uint32_t core_count;
    const struct gate *gates[REQUESTERS_MAX - 1];
    uint32_t gate_count;
    const struct metrics_tile *gate_metrics[REQUESTERS_MAX - 1]; /* what the gate itself counts */
    const struct broker *brokers[LOG_TILES_MAX];
    uint32_t log_count;
    const struct metrics_tile *log_metrics[LOG_TILES_MAX]; /* what the log tile itself counts */
    const struct metrics_partition *log_partitions[LOG_TILES_MAX]; /* [slots of that log tile] */
    uint32_t log_slots; /* entries of each log_partitions */
    const struct metrics_tile *control_metrics;
    const struct door *doors[DOOR_TILES_MAX];
    const struct nic *nics[DOOR_TILES_MAX]; /* of the doors */
    uint32_t door_count;                    /* 0: no native door */
    const struct metrics_tile *door_metrics[DOOR_TILES_MAX];
    const struct exchange *exchange; /* NULL: no native door */
    const struct metrics_tile *exchange_metrics;
    const struct recover_report *recovered;
};

struct admin;

/* Listens and serves. Results as http_start(). Runs on: the starting thread.  Allocates: at start
 * only.  Blocks: on resolving. */
enum rc admin_start(const struct admin_config *config,
                    struct admin **ret_admin,
                    struct diag_trail *trail) MUST_USE;
uint16_t admin_port(const struct admin *admin);
/* From now on /readyz tells what control says; before it is 503. To be called when whoever waits
 * for the server may know: behind the line that says so. Runs on: any thread. */
void admin_announce(struct admin *admin);
/* Ends all connections and the thread; a handler that runs is waited for. Control may still be
 * polled or not. NULL is allowed. */
void admin_stop(struct admin *admin);

#endif
