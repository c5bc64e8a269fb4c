/* What the kernel lets this process use: the affinity mask, and the bandwidth limit of its cgroup
 * and of every group above it. A container sees either its own group as the root or the host's path
 * that does not exist inside; both are met by trying the path and then each of its parents. */
#include "hw/cpu/cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <string.h>
#include <unistd.h>

#define CGROUP_PATH_MAX 512u

/* Reads a small file whole, with a NUL; false when it is not there. */
static bool
file_read(const char *path, char *text, size_t capacity)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    ssize_t count = read(fd, text, capacity - 1);
    close(fd);
    text[count > 0 ? count : 0] = '\0';
    return count > 0;
}

/* Skips blanks and reads digits; false (and *at unmoved) when there are none or too many. */
static bool
number_read(const char **at, uint64_t *ret_number)
{
    const char *from = *at + strspn(*at, " \t\n");
    size_t count = strspn(from, "0123456789");
    uint64_t number = 0;

    if (count == 0 || count > 18)
        return false;
    for (size_t i = 0; i < count; i++)
        number = number * 10 + (uint64_t)(from[i] - '0');
    *at = from + count;
    *ret_number = number;
    return true;
}

uint32_t
cpu_quota_parse(const char *text)
{
    uint64_t quota;
    uint64_t period;

    if (!number_read(&text, &quota) || !number_read(&text, &period) || quota == 0 || period == 0)
        return 0; /* "max 100000", "-1 100000", or nothing we know */
    return (uint32_t)min_u64(max_u64(quota / period * 1000 + quota % period * 1000 / period, 1),
                             CPU_COUNT_MAX * 1000);
}

/* The limit written in one group's directory, 0 for none. */
static uint32_t
group_quota(const char *directory)
{
    char path[CGROUP_PATH_MAX + 64];
    char text[128];
    char period[64];

    snprintf(path, sizeof(path), "%s/cpu.max", directory);
    if (file_read(path, text, sizeof(text)))
        return cpu_quota_parse(text);
    snprintf(path, sizeof(path), "%s/cpu.cfs_quota_us", directory);
    if (!file_read(path, text, 32))
        return 0;
    snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", directory);
    if (!file_read(path, period, sizeof(period)))
        return 0;
    size_t count = strcspn(text, "\n");
    snprintf(text + count, sizeof(text) - count, " %s", period);
    return cpu_quota_parse(text);
}

static uint32_t
smaller_quota(uint32_t a, uint32_t b)
{
    if (a == 0 || b == 0)
        return a + b;
    return min_u32(a, b);
}

/* The smallest limit on the way from base + path up to base. */
static uint32_t
branch_quota(const char *base, const char *path)
{
    char directory[CGROUP_PATH_MAX];
    uint32_t quota = 0;
    int count = snprintf(directory, sizeof(directory), "%s%s", base, path);

    if (count < 0 || (size_t)count >= sizeof(directory))
        return 0;
    while (strlen(directory) >= strlen(base)) {
        char *slash = strrchr(directory, '/');

        quota = smaller_quota(quota, group_quota(directory));
        if (slash == NULL)
            break;
        *slash = '\0';
    }
    return quota;
}

/* One line of /proc/self/cgroup: "hierarchy:controllers:/path"; no controllers is version 2. */
static uint32_t
line_quota(char *line)
{
    char *controllers = strchr(line, ':');
    char *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');

    if (path == NULL)
        return 0;
    *path++ = '\0';
    controllers++;
    if (controllers[0] == '\0')
        return smaller_quota(branch_quota("/sys/fs/cgroup", path),
                             branch_quota("/sys/fs/cgroup/unified", path));
    if (strncmp(controllers, "cpu", 3) != 0 || (controllers[3] != '\0' && controllers[3] != ','))
        return 0;
    return smaller_quota(branch_quota("/sys/fs/cgroup/cpu", path),
                         branch_quota("/sys/fs/cgroup/cpu,cpuacct", path));
}

static uint32_t
process_quota(void)
{
    char text[4096];
    char *line = text;
    uint32_t quota = 0;

    if (!file_read("/proc/self/cgroup", text, sizeof(text)))
        return 0;
    while (*line != '\0') {
        char *next = line + strcspn(line, "\n");

        if (*next != '\0')
            *next++ = '\0';
        quota = smaller_quota(quota, line_quota(line));
        line = next;
    }
    return quota;
}

void
cpu_topology_read(struct cpu_topology *ret_topology)
{
    cpu_set_t set;

    *ret_topology = (struct cpu_topology){.allowed_count = 0};
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        for (uint32_t cpu = 0; cpu < CPU_COUNT_MAX && cpu < CPU_SETSIZE; cpu++) {
            if (CPU_ISSET(cpu, &set))
                ret_topology->allowed[ret_topology->allowed_count++] = cpu;
        }
    }
    if (ret_topology->allowed_count == 0)
        ret_topology->allowed[ret_topology->allowed_count++] =
            0; /* more CPUs than the mask holds */
    ret_topology->quota_milli = process_quota();
    ret_topology->usable = ret_topology->allowed_count;
    if (ret_topology->quota_milli != 0)
        ret_topology->usable = min_u32(ret_topology->usable,
                                       (ret_topology->quota_milli + 999) / 1000);
}

enum rc
cpu_pin(uint32_t cpu, struct diag_trail *trail)
{
    cpu_set_t set;

    if (cpu >= CPU_SETSIZE)
        return RC_INVALID;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    int error = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
    if (error == 0)
        return RC_OK;
    diag_trail_add(trail, "pinning to CPU %u: %s", cpu, strerror(error));
    return rc_from_errno(error);
}

void
cpu_lower_thread(void)
{
    /* Linux keeps the nice value per thread; 0 names the caller. Refused or not: it is a wish. */
    (void)setpriority(PRIO_PROCESS, 0, 10);
}

void
cpu_name_thread(const char *name)
{
    char cut[16];

    snprintf(cut, sizeof(cut), "%s", name);
    (void)pthread_setname_np(pthread_self(), cut);
}

void
cpu_yield(void)
{
    (void)sched_yield();
}
