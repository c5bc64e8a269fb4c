/* What processes used: /proc/PID/{stat,statm,status,io}, and stolen time of /proc/stat. proc(5). */
#include "perf/load/bench.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The number behind a name at the beginning of a line of a file of /proc; 0: not there. */
static uint64_t
proc_number(int pid, const char *file, const char *name)
{
    char path[512];
    char line[256];
    uint64_t number = 0;

    snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
    FILE *stream = fopen(path, "r");
    if (stream == NULL)
        return 0;
    while (fgets(line, sizeof(line), stream) != NULL)
        if (strncmp(line, name, strlen(name)) == 0) {
            number = strtoull(line + strlen(name), NULL, 10);
            break;
        }
    fclose(stream);
    return number;
}

/* The status of a process counts its main thread's switches only: all threads are summed. */
static uint64_t
switches_of(int pid)
{
    char path[64];
    uint64_t sum = 0;

    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    for (struct dirent *task; tasks != NULL && (task = readdir(tasks)) != NULL;) {
        char file[300];
        if (task->d_name[0] == '.')
            continue;
        snprintf(file, sizeof(file), "task/%s/status", task->d_name);
        sum += proc_number(pid, file, "voluntary_ctxt_switches:") +
               proc_number(pid, file, "nonvoluntary_ctxt_switches:");
    }
    if (tasks != NULL)
        closedir(tasks);
    return sum;
}

struct usage
usage_of(const int *pids, uint32_t count)
{
    struct usage sum = {0};

    for (uint32_t i = 0; i < count; i++) {
        sum.cpu_s += process_cpu_s(pids[i]);
        sum.rss_bytes += proc_number(pids[i], "status", "VmRSS:") * KIB;
        sum.switches += switches_of(pids[i]);
        sum.written_bytes += proc_number(pids[i], "io", "write_bytes:");
    }
    return sum;
}

double
usage_stolen_s(void)
{
    FILE *stream = fopen("/proc/stat", "r");
    unsigned long long stolen = 0;

    if (stream == NULL)
        return 0;
    if (fscanf(stream, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &stolen) != 1)
        stolen = 0;
    fclose(stream);
    return (double)stolen / (double)sysconf(_SC_CLK_TCK);
}
