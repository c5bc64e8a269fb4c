/* The engine as a whole: which tiles stand on which core, and the rings between them. The same
 * wiring runs in production (one thread per core, real seams) and in the simulator (one thread
 * steps every core, sim seams).
 *
 *   engine_create(&config) -> engine_attach(each core: its clock and io) -> engine_wire()
 *   -> engine_recover() -> cores run (core_run, or core_step by the simulator)
 *   -> engine_stop_step() until it says true -> engine_destroy()
 *
 *            ┌ gate 0 ┐  request/response rings   ┌ log 0 ┐
 *   core 0   │        │ ════════════════════════► │       │ ═══ disk jobs ═══► control
 *            │ gate n │ ◄════════════════════════ │       │ ◄═════════════════
 *            │ net 0  │ ═══ batches (bytes) ════► │       │
 *            └ net k  ┘                           └ log m ┘
 *                 ╚═══════════ Kafka admin requests, snapshots ═════════════════╝
 *   net i ◄═══ sessions granted ═══ exchange (on control's core) ◄═══ ended ═══ net i
 *   net i ◄═══ datagrams of the other's sessions ═══► net j
 *
 * Core 0 .. layout.core_count - 1 are those of the layout; core layout.core_count is control's, the
 * one behind it compaction's, which stands alone because it waits for files.
 * Runs on: the starting thread, but for core_run. Allocates: one arena at create; nothing
 * afterwards. */
#ifndef EAGRE_ENGINE_APP_ENGINE_H
#define EAGRE_ENGINE_APP_ENGINE_H

#include "engine/admin/admin.h"
#include "engine/base/diag.h"
#include "engine/broker/broker.h"
#include "engine/config/config.h"
#include "engine/control/control.h"
#include "engine/tile/tile.h"
#include "engine/trace/trace.h"
#include "hw/disk/disk.h"
#include "hw/mem/mem.h"
#include "hw/tcp/tcp.h"
#include "log/append/log.h"
#include "log/recover/recover.h"
#include "net/door/door.h"
#include "net/exchange/exchange.h"
#include "net/gate/gate.h"

#define ENGINE_CORES_MAX 34u /* 32 of the layout, control's and compaction's */
#define ENGINE_MEMORY_MIN (256 * MIB)

enum engine_tile_kind { ENGINE_TILE_GATE, ENGINE_TILE_LOG, ENGINE_TILE_NET };

struct engine_core_layout {
    enum engine_tile_kind tiles[CORE_TILES_MAX];
    uint32_t tile_count; /* [1, CORE_TILES_MAX] */
    int32_t cpu;         /* to pin to; -1: not pinned */
};

struct engine_layout {
    struct engine_core_layout cores[ENGINE_CORES_MAX];
    uint32_t core_count; /* [1, ENGINE_CORES_MAX - 1) */
    uint32_t gate_count; /* over all cores, [1, REQUESTERS_MAX - 1] */
    uint32_t log_count;  /* over all cores, [1, LOG_TILES_MAX] */
    uint32_t net_count;  /* over all cores, [0, DOOR_TILES_MAX]; with the gates < REQUESTERS_MAX */
    uint64_t spin_ns;    /* before a core blocks; 0 when overprovisioned */
    bool poll_always;
};

struct engine;

/* Keeps trace stamps of every batch; before engine_wire(). For the test of a record's life. */
void engine_keep_trace(struct engine *engine);

/* What the native door stands on: opened by the caller (native.h), who closes it after
 * engine_destroy(). */
struct engine_native {
    struct nic *nics[DOOR_TILES_MAX]; /* [layout.net_count] */
    int listener_fd;                  /* of the control exchange */
    uint8_t data_ip[16];              /* that clients are told; zero: where they came in */
    bool is_loopback;
    bool is_private;
    uint8_t cookie_secret[32];
};

/* What an engine is made of. All but the layout is borrowed for the engine's life. */
struct engine_config {
    const struct settings *settings;
    const struct engine_layout *layout; /* copied */
    struct disk *disk;
    struct tcp *tcp;
    uint64_t memory_bytes;              /* the whole budget */
    const struct engine_native *native; /* NULL: no native door, and no net tile in the layout */
};

/* Takes the memory and opens the listener. *ret_engine is written only on success. */
enum rc engine_create(const struct engine_config *config,
                      struct engine **ret_engine,
                      struct diag_trail *trail) MUST_USE;

/* The seams of one core; both are borrowed. In production called on that core's thread. */
void engine_attach(struct engine *engine, uint32_t core_idx, struct clock *clock, struct io *io);

/* Builds every tile. All cores must be attached. */
enum rc engine_wire(struct engine *engine, struct diag_trail *trail) MUST_USE;

/* Recovery of all log tiles, before any core runs; ret_report sums them up. */
enum rc engine_recover(struct engine *engine,
                       struct recover_report *ret_report,
                       struct diag_trail *trail) MUST_USE;

/* Two cores more than the layout's: control's and compaction's. */
uint32_t engine_core_count(const struct engine *engine);
/* Of them, the first that is not the layout's: control's. */
uint32_t engine_control_core(const struct engine *engine);
struct core *engine_core(struct engine *engine, uint32_t core_idx);
const struct engine_layout *engine_layout(const struct engine *engine);

struct control *engine_control(struct engine *engine);
struct gate *engine_gate(struct engine *engine, uint32_t gate_idx);
struct door *engine_door(struct engine *engine, uint32_t door_idx);
struct log *engine_log(struct engine *engine, uint32_t log_idx);
const struct broker *engine_broker(const struct engine *engine, uint32_t log_idx);
struct trace *engine_trace(struct engine *engine, uint32_t core_idx);
const struct mem_arena *engine_memory(const struct engine *engine);
/* The port that Kafka clients connect to. */
uint16_t engine_kafka_port(const struct engine *engine);

/* Everything that the admin pages look at; host, port, version and recovered are the caller's to
 * set. */
void engine_admin_config(struct engine *engine, struct admin_config *ret_config);

/* One step of the way out: gates stop and drain, control stops the log tiles, then true. To be
 * called again until then (every few milliseconds, or after each simulator step). Any one thread.
 */
bool engine_stop_step(struct engine *engine);

/* Frees everything; the cores must have ended and their io be destroyed by the caller. NULL is
 * allowed. */
void engine_destroy(struct engine *engine);

#endif
