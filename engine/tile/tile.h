/* Tiles and the core loop that runs them.
 *
 * A tile is an object with one function, poll: it does a bounded amount of work and says how much
 * and when it wants to run again at the latest. A core is a thread with a static list of tiles, one
 * clock and one io; it blocks only in io_wait(), until the nearest deadline, a completion, or a
 * wake. Completions are given to the tile named in their tag.
 *
 * Sleep and wake: the core sets `asleep`, full fence, asks every tile `has_work` (rings non-empty?)
 * once more, then waits; a producer publishes, full fence, tests `asleep`, and only then wakes.
 * Each fence pairs with the other; without either a wake-up is lost.
 *
 * The simulator calls core_step() itself and never sleeps. */
#ifndef EAGRE_ENGINE_TILE_TILE_H
#define EAGRE_ENGINE_TILE_TILE_H

#include "engine/base/base.h"
#include "hw/clock/clock.h"
#include "hw/io/io.h"

#include <stdatomic.h>

#define CORE_TILES_MAX 8u

struct tile_report {
    uint32_t work;        /* units done; 0 means idle */
    uint64_t deadline_ns; /* poll again no later than this; NO_DEADLINE for never */
};

struct tile_ops {
    struct tile_report (*poll)(void *tile, uint64_t now_ns);
    /* One completion whose tag names this tile; bounded, queues follow-up work. May be NULL. */
    void (*complete)(void *tile, uint64_t tag, int32_t result);
    /* True when an input ring is non-empty; called between `asleep = 1` and the wait. */
    bool (*has_work)(void *tile);
};

/* Where a tile's time goes; written by its core, read by metrics (relaxed). */
struct tile_times {
    _Atomic uint64_t busy_ns;
    _Atomic uint64_t polls;
    _Atomic uint64_t polls_idle;
    _Atomic uint64_t work;
};

struct tile {
    const char *name; /* "gate0", "log1": static or owned by the topology */
    const struct tile_ops *ops;
    void *object;
    struct tile_times times;
};

/* What a producer needs to wake a core. */
struct waker {
    _Alignas(BASE_LINE_BYTES) _Atomic uint32_t asleep;
    struct io *io;
};

enum core_poll_mode { CORE_POLL_AUTO, CORE_POLL_ALWAYS };

struct core {
    struct tile tiles[CORE_TILES_MAX];
    uint32_t tile_count;
    struct clock *clock;
    struct io *io;
    struct waker waker;
    uint64_t spin_ns; /* how long to poll without work before blocking; 0 when overprovisioned */
    enum core_poll_mode mode;
    _Atomic uint32_t stop;     /* set by core_stop() */
    uint64_t idle_since_ns;    /* 0: not idle */
    uint64_t next_deadline_ns; /* nearest of the tiles' last answers */
    _Atomic uint64_t sleep_ns; /* time blocked, for metrics */
    _Atomic uint64_t wakes;
};

void core_init(struct core *core,
               struct clock *clock,
               struct io *io,
               enum core_poll_mode mode,
               uint64_t spin_ns);
/* Adds a tile; returns its index on this core, to be used in io_tag(). */
uint32_t core_add(struct core *core, const char *name, const struct tile_ops *ops, void *object);
/* One round: reap completions, poll every tile once. Returns the work; sets next_deadline_ns. */
uint32_t core_step(struct core *core);
/* Runs until core_stop(). Runs on: the core's thread. */
void core_run(struct core *core);
/* Any thread. */
void core_stop(struct core *core);

/* Producer side, after publishing to a ring: wakes the consumer's core when it sleeps. Costs a
 * fence and a load when awake. */
void waker_notify(struct waker *waker);

#endif
