/* Goal: the real body refuses what it must with the right code, and its jobs leave whole files or
 * none. Method: a directory of its own below /tmp for each test, removed at the end; bad input
 * first. What needs root (a full file system) is skipped otherwise, with the reason. */
#include "hw/disk/disk.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[64];
static struct disk *disk;

static void
open_root(void)
{
    struct diag_trail trail = {""};

    snprintf(root, sizeof(root), "/tmp/eagre-disk-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    cr_assert_eq(disk_open_real(root, &disk, &trail), RC_OK, "%s", trail.text);
}

static void
remove_root(void)
{
    char command[128];

    disk_fini(disk);
    disk = NULL;
    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(disk_real, .init = open_root, .fini = remove_root, .timeout = 30);
TestSuite(disk_job, .init = open_root, .fini = remove_root, .timeout = 30);

static void
write_file(const char *path, const char *text)
{
    int fd;

    cr_assert_eq(disk_open(disk, path, DISK_WRITE | DISK_CREATE, &fd), RC_OK);
    cr_assert_eq(disk_write(disk, fd, text, strlen(text), 0), RC_OK);
    disk_close(disk, fd);
}

static bool
is_there(const char *path)
{
    int fd;

    if (disk_open(disk, path, DISK_READ, &fd) != RC_OK)
        return false;
    disk_close(disk, fd);
    return true;
}

static size_t
entry_count(const char *path)
{
    size_t count = 0;

    cr_assert_eq(disk_list(disk, path, NULL, 0, &count), RC_OK);
    return count;
}

static uint32_t
open_descriptors(void)
{
    uint32_t count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* ---- opening a data directory ---- */

Test(disk_open_real, names_a_directory_whose_parent_is_missing, .timeout = 10)
{
    struct diag_trail trail = {""};
    struct disk *none = NULL;

    cr_assert_eq(disk_open_real("/tmp/eagre-no-such/data", &none, &trail), RC_NOT_FOUND);
    cr_assert_null(none);
    cr_assert_not_null(strstr(trail.text, "/tmp/eagre-no-such/data"));
}

Test(disk_open_real, refuses_a_file_in_place_of_the_directory, .timeout = 10)
{
    char path[] = "/tmp/eagre-disk-XXXXXX";
    struct diag_trail trail = {""};
    struct disk *none = NULL;

    close(mkstemp(path));
    cr_assert_eq(disk_open_real(path, &none, &trail), RC_NOT_FOUND);
    unlink(path);
}

/* Root may write anywhere, so the attempt is made by an ordinary user. */
Test(disk_open_real, names_a_directory_that_is_not_writable, .timeout = 10)
{
    char path[] = "/tmp/eagre-disk-XXXXXX";
    struct diag_trail trail = {""};
    struct disk *none = NULL;
    int status = 0;

    cr_assert_not_null(mkdtemp(path));
    chmod(path, 0555);
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(3);
        bool told = disk_open_real(path, &none, &trail) == RC_DENIED &&
                    strstr(trail.text, "not writable") != NULL;
        _exit(told ? 0 : 1);
    }
    waitpid(child, &status, 0);
    rmdir(path);
    cr_assert(WIFEXITED(status));
    cr_assert_eq(WEXITSTATUS(status), 0);
}

Test(disk_real, is_busy_for_a_second_opener_and_names_the_first)
{
    struct diag_trail trail = {""};
    struct disk *second = NULL;
    char pid[32];

    cr_assert_eq(disk_open_real(root, &second, &trail), RC_BUSY);
    snprintf(pid, sizeof(pid), "process %d", (int)getpid());
    cr_assert_not_null(strstr(trail.text, pid), "%s", trail.text);
    disk_fini(disk);
    cr_assert_eq(disk_open_real(root, &disk, &trail), RC_OK);
}

Test(disk_real, makes_the_last_part_of_the_root_and_leaks_no_descriptor)
{
    struct diag_trail trail = {""};
    struct disk *inner = NULL;
    char path[128];
    uint32_t before = open_descriptors();

    snprintf(path, sizeof(path), "%s/new", root);
    cr_assert_eq(disk_open_real(path, &inner, &trail), RC_OK);
    disk_fini(inner);
    cr_assert_eq(open_descriptors(), before);
}

/* ---- names ---- */

Test(disk_open_reading, names_what_is_not_there_and_makes_nothing, .timeout = 10)
{
    struct diag_trail trail = {""};
    struct disk *looking;

    cr_assert_eq(disk_open_reading("/tmp/eagre-none/of-this", &looking, &trail), RC_NOT_FOUND);
    cr_assert_not_null(strstr(trail.text, "/tmp/eagre-none/of-this"));
    cr_assert_neq(access("/tmp/eagre-none", F_OK), 0);
}

Test(disk_real, is_not_looked_at_while_it_is_served)
{
    struct diag_trail trail = {""};
    struct disk *looking;
    char pid[16];

    cr_assert_eq(disk_open_reading(root, &looking, &trail), RC_BUSY);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    cr_assert_not_null(strstr(trail.text, pid));
}

Test(disk_real, is_only_read_by_those_who_look_and_they_keep_servers_out)
{
    struct disk *looking[2];
    size_t count;
    char text[4];
    int fd;

    write_file("file", "data");
    disk_fini(disk);
    disk = NULL;
    for (int i = 0; i < 2; i++)
        cr_assert_eq(disk_open_reading(root, &looking[i], NULL), RC_OK);
    cr_assert_eq(disk_open_real(root, &disk, NULL), RC_BUSY);
    cr_assert_eq(disk_open(looking[0], "file", DISK_READ, &fd), RC_OK);
    cr_assert_eq(disk_read(looking[0], fd, text, sizeof(text), 0, &count), RC_OK);
    cr_assert_eq(memcmp(text, "data", 4), 0);
    cr_expect_eq(disk_write(looking[0], fd, "x", 1, 0), RC_DENIED);
    cr_expect_eq(disk_truncate(looking[0], fd, 0), RC_DENIED);
    cr_expect_eq(disk_allocate(looking[0], fd, 0, 4096), RC_DENIED);
    cr_expect_eq(disk_sync(looking[0], fd), RC_DENIED);
    disk_close(looking[0], fd);
    cr_expect_eq(disk_open(looking[0], "file", DISK_READ | DISK_WRITE, &fd), RC_DENIED);
    cr_expect_eq(disk_open(looking[0], "new", DISK_WRITE | DISK_CREATE, &fd), RC_DENIED);
    cr_expect_eq(disk_rename(looking[0], "file", "other"), RC_DENIED);
    cr_expect_eq(disk_unlink(looking[0], "file"), RC_DENIED);
    cr_expect_eq(disk_make_directory(looking[0], "folder"), RC_DENIED);
    cr_expect_eq(disk_sync_all(looking[0]), RC_DENIED);
    for (int i = 0; i < 2; i++)
        disk_fini(looking[i]);
    cr_assert_eq(disk_open_real(root, &disk, NULL), RC_OK);
}

Test(disk_real, refuses_paths_that_leave_the_root)
{
    static const char *const paths[] = {"", "/etc/passwd", "..", "../x", "a/../../x", "a/.."};
    char endless[2 * DISK_PATH_MAX];
    int fd;

    memset(endless, 'a', sizeof(endless));
    endless[sizeof(endless) - 1] = '\0';
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        cr_assert_eq(disk_open(disk, paths[i], DISK_READ, &fd), RC_INVALID, "%s", paths[i]);
        cr_assert_eq(disk_unlink(disk, paths[i]), RC_INVALID);
        cr_assert_eq(disk_make_directory(disk, paths[i]), RC_INVALID);
    }
    cr_assert_eq(disk_open(disk, endless, DISK_READ, &fd), RC_INVALID);
    cr_assert_eq(disk_open(disk, "..a/b..", DISK_READ, &fd), RC_NOT_FOUND);
}

Test(disk_real, tells_missing_existing_and_full_apart)
{
    int fd;

    cr_assert_eq(disk_open(disk, "none", DISK_READ, &fd), RC_NOT_FOUND);
    cr_assert_eq(disk_open(disk, "none/x", DISK_WRITE | DISK_CREATE, &fd), RC_NOT_FOUND);
    cr_assert_eq(disk_unlink(disk, "none"), RC_NOT_FOUND);
    cr_assert_eq(disk_remove_directory(disk, "none"), RC_NOT_FOUND);
    cr_assert_eq(disk_sync_directory(disk, "none"), RC_NOT_FOUND);
    cr_assert_eq(disk_rename(disk, "none", "other"), RC_NOT_FOUND);
    write_file("a", "x");
    cr_assert_eq(disk_open(disk, "a", DISK_WRITE | DISK_CREATE, &fd), RC_EXISTS);
    cr_assert_eq(disk_make_directory(disk, "a"), RC_EXISTS);
}

Test(disk_real, tells_a_full_descriptor_table)
{
    struct rlimit limit = {.rlim_cur = open_descriptors() + 3, .rlim_max = 4096};
    int fd;

    write_file("a", "x");
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    enum rc rc = RC_OK;
    for (int i = 0; i < 100 && rc == RC_OK; i++)
        rc = disk_open(disk, "a", DISK_READ, &fd);
    cr_assert_eq(rc, RC_NO_DESCRIPTORS);
}

Test(disk_real, lists_names_in_order_and_counts_what_does_not_fit)
{
    struct disk_entry entries[4];
    size_t count = 0;
    char name[16];

    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "f%02d", (i * 7) % 20);
        write_file(name, "12345");
    }
    cr_assert_eq(disk_make_directory(disk, "f00d"), RC_OK);
    cr_assert_eq(disk_list(disk, "", entries, ARRAY_COUNT(entries), &count), RC_OK);
    cr_assert_eq(count, 21u, "the lock file is not listed");
    cr_assert_str_eq(entries[0].name, "f00");
    cr_assert_str_eq(entries[1].name, "f00d");
    cr_assert_str_eq(entries[2].name, "f01");
    cr_assert_str_eq(entries[3].name, "f02");
    cr_assert(entries[1].is_directory);
    cr_assert_eq(entries[2].bytes, 5u);
    cr_assert_eq(disk_list(disk, "none", entries, 4, &count), RC_NOT_FOUND);
}

/* ---- bytes ---- */

Test(disk_real, reads_direct_up_to_an_end_that_is_not_aligned)
{
    uint8_t *buffer = aligned_alloc(DISK_ALIGN_BYTES, 4 * DISK_ALIGN_BYTES);
    size_t count = 0;
    int fd;

    write_file("a", "0123456789");
    cr_assert_eq(disk_open(disk, "a", DISK_READ | DISK_DIRECT, &fd), RC_OK);
    cr_assert_eq(disk_read(disk, fd, buffer, 4 * DISK_ALIGN_BYTES, 0, &count), RC_OK);
    cr_assert_eq(count, 10u);
    cr_assert_eq(memcmp(buffer, "0123456789", 10), 0);
    cr_assert_eq(disk_read(disk, fd, buffer, DISK_ALIGN_BYTES, DISK_ALIGN_BYTES, &count), RC_OK);
    cr_assert_eq(count, 0u);
    disk_close(disk, fd);
    free(buffer);
}

Test(disk_real, allocates_truncates_and_tells_the_size)
{
    uint64_t bytes = 0;
    uint8_t last = 9;
    size_t count;
    int fd;

    cr_assert_eq(disk_open(disk, "a", DISK_READ | DISK_WRITE | DISK_CREATE, &fd), RC_OK);
    cr_assert_eq(disk_allocate(disk, fd, 0, MIB), RC_OK);
    cr_assert_eq(disk_allocate(disk, fd, MIB, MIB), RC_OK);
    cr_assert_eq(disk_size(disk, fd, &bytes), RC_OK);
    cr_assert_eq(bytes, 2 * MIB);
    cr_assert_eq(disk_read(disk, fd, &last, 1, 2 * MIB - 1, &count), RC_OK);
    cr_assert_eq(last, 0);
    cr_assert_eq(disk_truncate(disk, fd, 100), RC_OK);
    cr_assert_eq(disk_size(disk, fd, &bytes), RC_OK);
    cr_assert_eq(bytes, 100u);
    cr_assert_eq(disk_sync(disk, fd), RC_OK);
    cr_assert_eq(disk_sync_all(disk), RC_OK);
    cr_assert_eq(disk_write(disk, 9999, "x", 1, 0), RC_IO_ERROR);
    disk_close(disk, fd);
    disk_close(disk, -1);
}

Test(disk_real, knows_its_file_system)
{
    struct disk_facts facts;

    cr_assert_eq(disk_facts(disk, &facts), RC_OK);
    cr_assert_neq(facts.filesystem[0], '\0');
    cr_assert_neq(facts.write_cache[0], '\0');
    cr_assert(is_power_of_two(facts.block_bytes));
    cr_assert_leq(facts.block_bytes, DISK_ALIGN_BYTES);
    cr_assert_gt(facts.total_bytes, 0u);
    cr_assert_leq(facts.free_bytes, facts.total_bytes);
    cr_log_info("%s, write cache %s, block %u, direct %d",
                facts.filesystem,
                facts.write_cache,
                facts.block_bytes,
                facts.direct);
    cr_assert_eq(entry_count(""), 0u, "the probe left something behind");
}

Test(disk_open_real, knows_memory_from_a_device, .timeout = 10)
{
    struct diag_trail trail = {""};
    struct disk_facts facts;
    char path[] = "/dev/shm/eagre-disk-XXXXXX";
    char lock[64];

    if (mkdtemp(path) == NULL)
        cr_skip_test("no /dev/shm here");
    cr_assert_eq(disk_open_real(path, &disk, &trail), RC_OK);
    cr_assert_eq(disk_facts(disk, &facts), RC_OK);
    disk_fini(disk);
    snprintf(lock, sizeof(lock), "%s/lock", path);
    unlink(lock);
    rmdir(path);
    cr_assert(facts.is_memory);
    cr_assert_str_eq(facts.filesystem, "tmpfs");
}

Test(disk_root_is_memory, tells_it_before_the_directory_is_made, .timeout = 10)
{
    char path[] = "/dev/shm/eagre-disk-XXXXXX";
    char inner[64];
    char name[DISK_NAME_MAX] = "";

    cr_assert(!disk_root_is_memory("/proc", name), "neither a device nor a place for data");
    cr_assert(!disk_root_is_memory("/eagre-no-such/data", name), "no parent: opening it will tell");
    if (mkdtemp(path) == NULL)
        cr_skip_test("no /dev/shm here");
    snprintf(inner, sizeof(inner), "%s/data", path);
    cr_assert(disk_root_is_memory(path, name));
    cr_assert_str_eq(name, "tmpfs");
    cr_assert(disk_root_is_memory(inner, name));
    snprintf(inner, sizeof(inner), "%s/data//", path);
    cr_assert(disk_root_is_memory(inner, name), "a slash more");
    cr_assert_eq(rmdir(path), 0, "it left something behind");
    cr_assert(disk_root_is_memory("/dev/shm/eagre-none-here", name));
}

/* ---- jobs ---- */

static enum rc
run(struct disk_job *job, enum disk_job_kind kind, const char *path)
{
    job->kind = kind;
    snprintf(job->path, sizeof(job->path), "%s", path);
    disk_job_run(disk, job);
    return job->result;
}

Test(disk_job, leaves_an_existing_segment_alone)
{
    struct disk_job job = {.fd = -7, .bytes = MIB};

    write_file("a", "precious");
    cr_assert_eq(run(&job, DISK_JOB_SEGMENT_CREATE, "a"), RC_EXISTS);
    cr_assert_eq(job.fd, -7);
    cr_assert(is_there("a"));
}

Test(disk_job, creates_a_segment_with_its_size_and_gives_the_descriptor)
{
    struct disk_job job = {.bytes = MIB};
    uint64_t bytes = 0;

    cr_assert_eq(run(&job, DISK_JOB_MAKE_DIRECTORY, "t"), RC_OK);
    cr_assert_eq(run(&job, DISK_JOB_MAKE_DIRECTORY, "t"), RC_OK, "existing is fine");
    job.bytes = MIB;
    cr_assert_eq(run(&job, DISK_JOB_SEGMENT_CREATE, "t/0.seg"), RC_OK);
    cr_assert_eq(disk_size(disk, job.fd, &bytes), RC_OK);
    cr_assert_eq(bytes, MIB);
    job.position = 4096;
    cr_assert_eq(run(&job, DISK_JOB_TRUNCATE, ""), RC_OK);
    cr_assert_eq(disk_size(disk, job.fd, &bytes), RC_OK);
    cr_assert_eq(bytes, 4096u);
    cr_assert_eq(run(&job, DISK_JOB_SYNC, ""), RC_OK);
    cr_assert_eq(run(&job, DISK_JOB_SYNC_ALL, ""), RC_OK);
    job.bytes = 8192;
    cr_assert_eq(run(&job, DISK_JOB_ALLOCATE, ""), RC_OK);
    cr_assert_eq(disk_size(disk, job.fd, &bytes), RC_OK);
    cr_assert_eq(bytes, 12288u);
    cr_assert_eq(run(&job, DISK_JOB_CLOSE, ""), RC_OK);
    job.position = 0;
    cr_assert_eq(run(&job, DISK_JOB_OPEN, "t/0.seg"), RC_OK);
    cr_assert_neq(disk_truncate(disk, job.fd, 0), RC_OK, "for reading only");
    cr_assert_eq(run(&job, DISK_JOB_CLOSE, ""), RC_OK);
    job.position = 1;
    cr_assert_eq(run(&job, DISK_JOB_OPEN, "t/0.seg"), RC_OK);
    cr_assert_eq(disk_truncate(disk, job.fd, 4096), RC_OK, "for writing too");
    cr_assert_eq(run(&job, DISK_JOB_CLOSE, ""), RC_OK);
    cr_assert_eq(run(&job, DISK_JOB_OPEN, "t/1.seg"), RC_NOT_FOUND);
}

Test(disk_job, replaces_a_file_even_when_a_crash_left_a_half_one)
{
    char text[32] = "";
    struct disk_job job = {.buffer = text};

    write_file("state", "old");
    write_file("state.tmp", "half a fi");
    cr_assert_eq(disk_replace_file(disk, "state", "new content", 11), RC_OK);
    cr_assert_not(is_there("state.tmp"));
    job.bytes = sizeof(text);
    cr_assert_eq(run(&job, DISK_JOB_READ_FILE, "state"), RC_OK);
    cr_assert_eq(job.bytes, 11u);
    cr_assert_str_eq(text, "new content");
    job.bytes = 10;
    cr_assert_eq(run(&job, DISK_JOB_READ_FILE, "state"), RC_LIMIT, "one byte too many");
    cr_assert_eq(run(&job, DISK_JOB_READ_FILE, "other"), RC_NOT_FOUND);
}

Test(disk_job, refuses_to_replace_a_file_whose_temporary_name_is_too_long)
{
    char path[DISK_PATH_MAX];

    memset(path, 'a', sizeof(path));
    path[DISK_PATH_MAX - 2] = '\0';
    cr_assert_eq(disk_replace_file(disk, path, "x", 1), RC_INVALID);
}

Test(disk_job, rewrites_a_file_in_place_and_cuts_the_rest)
{
    char text[64] = "a long first generation";
    struct disk_job job = {.buffer = text, .bytes = 23};

    cr_assert_eq(run(&job, DISK_JOB_WRITE_FILE, "checkpoint.0"), RC_OK);
    memcpy(text, "short", 5);
    job.bytes = 5;
    cr_assert_eq(run(&job, DISK_JOB_WRITE_FILE, "checkpoint.0"), RC_OK);
    job.bytes = sizeof(text);
    cr_assert_eq(run(&job, DISK_JOB_READ_FILE, "checkpoint.0"), RC_OK);
    cr_assert_eq(job.bytes, 5u);
    job.bytes = 5;
    cr_assert_eq(run(&job, DISK_JOB_WRITE_FILE, "none/checkpoint.0"), RC_NOT_FOUND);
}

Test(disk_job, removes_a_directory_of_many_files_and_may_be_repeated)
{
    struct disk_job job = {.bytes = 0};
    char name[32];

    cr_assert_eq(disk_make_directory(disk, "t"), RC_OK);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "t/%d", i);
        write_file(name, "x");
    }
    cr_assert_eq(run(&job, DISK_JOB_REMOVE_TREE, "t"), RC_OK);
    cr_assert_eq(entry_count(""), 0u);
    cr_assert_eq(run(&job, DISK_JOB_REMOVE_TREE, "t"), RC_OK);
    cr_assert_eq(run(&job, DISK_JOB_UNLINK, "t"), RC_NOT_FOUND);
    cr_assert_eq(disk_make_directory(disk, "t"), RC_OK);
    cr_assert_eq(disk_make_directory(disk, "t/inner"), RC_OK);
    cr_assert_eq(run(&job, DISK_JOB_REMOVE_TREE, "t"), RC_INVALID, "only one level");
}

Test(disk_job, populates_memory)
{
    uint8_t *memory = aligned_alloc(4096, 65536);
    struct disk_job job = {.buffer = memory, .bytes = 65536};

    memory[5] = 77;
    cr_assert_eq(run(&job, DISK_JOB_POPULATE, ""), RC_OK);
    cr_assert_eq(memory[5], 77);
    free(memory);
}

/* In a suite without a directory: a program that stops does not clean up. */
Test(disk_job_run, stops_the_program_on_an_unknown_kind, .signal = SIGABRT, .timeout = 10)
{
    struct disk_job job = {.kind = (enum disk_job_kind)99};

    disk_job_run(NULL, &job);
}

/* Every job that creates something, on a file system with no room for it. */
Test(disk_job, leaves_no_half_file_when_there_is_no_space)
{
    struct diag_trail trail = {""};
    char path[96];
    static uint8_t content[2 * MIB];

    snprintf(path, sizeof(path), "%s/small", root);
    cr_assert_eq(mkdir(path, 0755), 0);
    if (mount("tmpfs", path, "tmpfs", 0, "size=1m") != 0)
        cr_skip_test("mounting a small file system needs root");
    struct disk *outer = disk;
    enum rc opened = disk_open_real(path, &disk, &trail);
    struct disk_job job = {.bytes = sizeof(content), .buffer = content};
    enum rc created = run(&job, DISK_JOB_SEGMENT_CREATE, "segment");
    enum rc replaced = run(&job, DISK_JOB_REPLACE_FILE, "state");
    enum rc written = run(&job, DISK_JOB_WRITE_FILE, "checkpoint");
    size_t left = entry_count("");
    disk_fini(disk);
    disk = outer;
    umount(path);
    cr_assert_eq(opened, RC_OK, "%s", trail.text);
    cr_assert_eq(created, RC_NO_SPACE);
    cr_assert_eq(replaced, RC_NO_SPACE);
    cr_assert_eq(written, RC_NO_SPACE);
    cr_assert_eq(left, 0u);
}
