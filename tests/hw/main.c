/* eagre-hw-conformance: runs the checks of hw/nic over one carrier.
 *
 *     eagre-hw-conformance CARRIER [key=value ...]
 *     eagre-hw-conformance --list
 *
 * Keys: name= what the lines call it; the others are the carrier's (its opener reads them).
 * Ends with "N passed, M failed"; exit 0 when M is 0, 77 (and a line "skip: why") when the carrier
 * cannot be opened here. */
#include "tests/hw/conformance.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXIT_SKIPPED 77

uint64_t
hw_now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

const char *
hw_option(const struct hw_options *options, const char *key, const char *otherwise)
{
    size_t key_bytes = strlen(key);

    for (int i = 0; i < options->count; i++) {
        if (strncmp(options->words[i], key, key_bytes) == 0 && options->words[i][key_bytes] == '=')
            return options->words[i] + key_bytes + 1;
    }
    return otherwise;
}

static const struct hw_carrier *
carrier_find(const char *name)
{
    for (const struct hw_carrier *carrier = hw_carriers; carrier->name != NULL; carrier++) {
        if (strcmp(carrier->name, name) == 0)
            return carrier;
    }
    return NULL;
}

static uint32_t
descriptor_count(void)
{
    DIR *directory = opendir("/proc/self/fd");
    uint32_t count = 0;

    if (directory == NULL)
        return 0;
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static void
counters_print(const char *end, struct nic *nic)
{
    struct nic_counters *counters = &nic->counters;
#define VALUE(name) (unsigned long long)atomic_load_explicit(&counters->name, memory_order_relaxed)
    printf("     %s (%s): received %llu, sent %llu, missed %llu, no buffer %llu, malformed %llu, "
           "foreign %llu, queued %llu, dropped %llu, errors %llu, arp %llu, icmp %llu, "
           "syscalls %llu\n",
           end,
           nic->body_name,
           VALUE(received_packets),
           VALUE(sent_packets),
           VALUE(receive_missed),
           VALUE(receive_no_buffer),
           VALUE(receive_malformed),
           VALUE(receive_foreign),
           VALUE(send_queued),
           VALUE(send_dropped),
           VALUE(send_errors),
           VALUE(arp_replies),
           VALUE(icmp_replies),
           VALUE(syscalls));
#undef VALUE
}

static int
conformance_run(const struct hw_carrier *carrier, const struct hw_options *options)
{
    struct diag_trail trail = {""};
    struct hw_pair pair = {0};
    uint32_t passed = 0;
    uint32_t failed = 0;
    uint32_t descriptors = descriptor_count();
    const char *name = hw_option(options, "name", carrier->name);

    if (carrier->open(options, &pair, &trail) != RC_OK) {
        printf("skip: %s: %s; wanted: %s\n", name, trail.text, carrier->about);
        return EXIT_SKIPPED;
    }
    if (!hw_greet(&pair)) {
        printf("FAIL %s: the ends do not hear each other\n", name);
        failed++;
    }
    for (const struct hw_check *check = hw_checks; failed == 0 && check->name != NULL; check++) {
        uint64_t begin_ns = hw_now_ns();

        if (check->applies != NULL && !check->applies(&pair))
            continue;
        bool good = check->run(&pair);

        printf("%s %s: %s (%.2f s)\n",
               good ? "ok  " : "FAIL",
               name,
               check->name,
               (double)(hw_now_ns() - begin_ns) / 1e9);
        (void)fflush(stdout);
        passed += good;
        failed += !good;
    }
    counters_print("near", pair.near);
    if (pair.far != NULL)
        counters_print("far", pair.far);
    nic_close(pair.far);
    nic_close(pair.near);
    if (pair.ping_fd != 0)
        (void)close(pair.ping_fd);
    if (!pair.keeps_descriptors) {
        bool good = descriptor_count() == descriptors;

        printf("%s %s: leaves no descriptor open\n", good ? "ok  " : "FAIL", name);
        passed += good;
        failed += !good;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (const struct hw_carrier *carrier = hw_carriers; carrier->name != NULL; carrier++)
            printf("%-16s %s\n", carrier->name, carrier->about);
        return 0;
    }
    const struct hw_carrier *carrier = argc >= 2 ? carrier_find(argv[1]) : NULL;
    if (carrier == NULL) {
        (void)fprintf(
            stderr, "usage: %s CARRIER [key=value ...]; CARRIER: %s --list\n", argv[0], argv[0]);
        return 2;
    }
    return conformance_run(carrier, &(struct hw_options){.words = argv + 2, .count = argc - 2});
}
