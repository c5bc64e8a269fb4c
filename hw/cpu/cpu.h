/* CPUs: which ones this process may use, and which tile runs on which thread.
 *
 * The setting `cores` says it in one line: threads separated by '/', the tiles of a thread joined
 * by '+', and optionally '@' and the CPU that the thread is pinned to:
 *
 *     net+gate+log       one thread for everything, wherever the kernel puts it
 *     net+gate@0/log@1   two threads, pinned
 *     gate/log/log       no native door, two log tiles with half of the partitions each
 *     auto               by the machine, see cpu_plan_auto()
 *
 * Pure but for cpu_topology_read(), cpu_pin(), cpu_lower_thread() and cpu_name_thread().
 * All calls: Runs on: start-up.  Allocates: nothing.  Blocks: never (a few small files are read).
 */
#ifndef EAGRE_HW_CPU_CPU_H
#define EAGRE_HW_CPU_CPU_H

#include "engine/base/base.h"
#include "engine/base/diag.h"
#include "engine/base/rc.h"

#define CPU_COUNT_MAX 1024u
#define CPU_THREADS_MAX 32u
#define CPU_ANY UINT32_MAX /* not pinned */

enum cpu_tile { CPU_TILE_NET, CPU_TILE_GATE, CPU_TILE_LOG, CPU_TILE_KINDS };

/* What the process may use. */
struct cpu_topology {
    uint32_t allowed[CPU_COUNT_MAX]; /* [allowed_count], ascending; from sched_getaffinity */
    uint32_t allowed_count;
    uint32_t quota_milli; /* cgroup limit in thousandths of a CPU; 0: none */
    uint32_t usable;      /* min(allowed_count, quota rounded up); at least 1 */
};

struct cpu_thread {
    enum cpu_tile tiles[CPU_TILE_KINDS]; /* [tile_count], in the order written; each kind once */
    uint32_t tile_count;
    uint32_t cpu; /* CPU_ANY or one of the allowed */
};

struct cpu_plan {
    struct cpu_thread threads[CPU_THREADS_MAX]; /* [thread_count] */
    uint32_t thread_count;
    uint32_t tile_counts[CPU_TILE_KINDS]; /* over all threads */
    bool is_auto;
    /* As many threads as usable CPUs or more, so a spinning thread would take time from its own
     * clients: block at once, never spin. */
    bool overprovisioned;
};

/* Static storage: "net", "gate", "log". */
const char *cpu_tile_name(enum cpu_tile tile);

/* Reads affinity and cgroup limit (version 1 and 2). What cannot be read counts as no limit; at
 * least one CPU. */
void cpu_topology_read(struct cpu_topology *ret_topology);

/* Parses the text of a cgroup's limit, "MAX PERIOD" as in cpu.max of version 2 ("max 100000",
 * "150000 100000"); version 1 gives the same two numbers in two files. Gives thousandths of a CPU,
 * 0 for no limit or bad text. */
uint32_t cpu_quota_parse(const char *text);

/* Parses the setting. RC_INVALID (trail: which thread, which word, what is allowed) for unknown
 * tiles, a tile twice on a thread, no log tile, neither gate nor net, more than CPU_THREADS_MAX
 * threads, a CPU that is not allowed or named twice. *ret_plan is written only on success. */
enum rc cpu_plan_parse(const char *text,
                       const struct cpu_topology *topology,
                       struct cpu_plan *ret_plan,
                       struct diag_trail *trail) MUST_USE;

/* The plan for `auto`:
 *
 *     usable CPUs   threads
 *     1 to 3        net+gate+log, not pinned: one thread answers a lone request in 110 us, two
 * sleeping ones in 163 us, and the other CPU belongs to the clients (hotpath section 1.5) 4 and
 * more    net+gate / log; pinned to the last two allowed CPUs (the first serve most interrupts),
 * unless a cgroup limits the process: then the kernel may have to move them */
void cpu_plan_auto(const struct cpu_topology *topology, struct cpu_plan *ret_plan);

/* Writes the plan in the syntax of the setting, as "net+gate@2/log@3". Cut when it does not fit. */
void cpu_plan_text(const struct cpu_plan *plan, char *text, size_t capacity);

/* Pins the calling thread; RC_DENIED or RC_INVALID when the kernel refuses (the thread then runs
 * anywhere). */
enum rc cpu_pin(uint32_t cpu, struct diag_trail *trail) MUST_USE;

/* Lets another thread of this CPU run, if one wants to. A core that never sleeps must do so while
 * the disk works for it: the kernel ends an O_DSYNC write in a worker thread of the submitting CPU,
 * which otherwise waits for the scheduler's tick (measured: 4 ms instead of 0.15 ms). */
void cpu_yield(void);

/* Lets every other thread go first when a CPU is short: for work that can wait. */
void cpu_lower_thread(void);

/* Names the calling thread for ps and debuggers; the kernel keeps 15 bytes. */
void cpu_name_thread(const char *name);

#endif
