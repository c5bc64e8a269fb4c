/* DPDK's environment layer: started once per process, by the first port, with arguments of our own.
 *
 * EAL changes its caller: it pins the thread, and every thread made later inherits that. So it runs
 * on a thread of its own that ends afterwards; the threads that drivers leave behind take no
 * signals (but SIGIO, by which TAP learns of packets) and may run on any CPU of the process.
 * EAL writes files only for other processes that would share its memory: switched off here, its
 * runtime directory is empty and removed again. Its log goes to a trail while a port is opened, to
 * diag afterwards; only errors.
 * Shared inside hw/ethdev only. */
#ifndef EAGRE_HW_ETHDEV_ETHDEV_EAL_H
#define EAGRE_HW_ETHDEV_ETHDEV_EAL_H

#include "engine/base/base.h"
#include "engine/base/diag.h"
#include "engine/base/rc.h"

struct ethdev_eal_config {
    uint64_t memory_bytes; /* without hugepages; rounded up to MiB */
    const char *runtime_dir;
    const char *pci; /* devargs of a device on the PCI bus; NULL: the bus is not looked at */
    bool hugepages;
};

/* Starts EAL unless it runs. RC_UNSUPPORTED when it runs with other pages, or without the PCI bus
 * that this port needs; RC_NO_MEMORY, RC_DENIED. Only inside ethdev__eal_detached(). */
enum rc ethdev__eal_start(const struct ethdev_eal_config *config,
                          struct diag_trail *trail) MUST_USE;

/* Runs work(context) on a thread that ends with it, one at a time in the process; umask is 0077 and
 * EAL's log is collected meanwhile. The caller's affinity, signals and umask stay as they were. */
enum rc ethdev__eal_detached(enum rc (*work)(void *context),
                             void *context,
                             struct diag_trail *trail) MUST_USE;

/* What EAL and drivers complained of since ethdev__eal_detached() began; "" when nothing. */
const char *ethdev__eal_words(void);

/* Gives the calling thread DPDK's buffer caches until it ends. Repeated calls do nothing. */
void ethdev__eal_adopt_thread(void);

#endif
