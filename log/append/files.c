/* Open segment files: at most open_files_max, the longest unused is closed for the next one.
 * Opening and closing are disk jobs, so a caller may have to come back. */
#include "log/append/store.h"

#include "engine/base/check.h"

void
files_init(struct log *log)
{
    log->file_newest = LOG_NONE;
    log->file_oldest = LOG_NONE;
    log->file_free = LOG_NONE;
    for (uint32_t i = log->config.open_files_max; i-- > 0;) {
        log->files[i].newer = log->file_free;
        log->files[i].fd = -1;
        log->files[i].state = FILE_UNUSED;
        log->file_free = i;
    }
}

static void
files_list_push(struct log *log, uint32_t at)
{
    struct log_file *file = &log->files[at];

    file->newer = LOG_NONE;
    file->older = log->file_newest;
    if (log->file_newest != LOG_NONE)
        log->files[log->file_newest].newer = at;
    else
        log->file_oldest = at;
    log->file_newest = at;
}

static void
files_list_remove(struct log *log, uint32_t at)
{
    struct log_file *file = &log->files[at];

    if (file->newer == LOG_NONE)
        log->file_newest = file->older;
    else
        log->files[file->newer].older = file->older;
    if (file->older == LOG_NONE)
        log->file_oldest = file->newer;
    else
        log->files[file->older].newer = file->newer;
}

static bool
files_send_close(struct log *log, uint32_t at)
{
    struct log_file *file = &log->files[at];
    struct log_job *job = jobs_take(log, JOB_CLOSE, LOG_NONE, at);

    CHECK(file->state == FILE_OPEN);
    CHECK(file->users == 0);
    if (job == NULL)
        return false;
    if (file->segment != SEGMENT_NONE)
        log->segments.segments[file->segment].file = SEGMENT_NONE;
    file->segment = SEGMENT_NONE;
    file->state = FILE_CLOSING;
    files_list_remove(log, at);
    job->job.kind = DISK_JOB_CLOSE;
    job->job.fd = file->fd;
    jobs_send(log, job);
    return true;
}

bool
files_have_room(struct log *log)
{
    if (log->file_free != LOG_NONE)
        return true;
    uint32_t at = log->file_oldest;
    for (uint32_t i = 0; i < 64 && at != LOG_NONE; i++) {
        struct log_file *file = &log->files[at];
        if (file->state == FILE_OPEN && file->users == 0) {
            (void)files_send_close(log, at);
            break; /* its place is free when the job has come back */
        }
        at = file->newer;
    }
    return false;
}

static uint32_t
files_take(struct log *log)
{
    uint32_t at = log->file_free;

    log->file_free = log->files[at].newer;
    log->file_count++;
    return at;
}

static void
files_give(struct log *log, uint32_t at)
{
    struct log_file *file = &log->files[at];

    file->state = FILE_UNUSED;
    file->segment = SEGMENT_NONE;
    file->fd = -1;
    file->newer = log->file_free;
    log->file_free = at;
    log->file_count--;
}

static enum files_result
files_open(struct log *log, uint32_t segment_idx, bool writable)
{
    struct segment *segment = &log->segments.segments[segment_idx];

    /* A segment that is still written is opened for writing even by a reader: else reader and
     * writer close each other's descriptor for ever. */
    writable = writable || !segment->sealed;
    if (!files_have_room(log))
        return FILES_WAIT;
    struct log_job *job = jobs_take(log, JOB_OPEN, segment->slot, LOG_NONE);
    if (job == NULL)
        return FILES_WAIT;
    uint32_t at = files_take(log);
    log->files[at] = (struct log_file){
        .fd = -1,
        .state = FILE_OPENING,
        .writable = writable,
        .segment = segment_idx,
    };
    files_list_push(log, at);
    segment->file = at;
    job->aux = at;
    job->job.kind = DISK_JOB_OPEN;
    job->job.position = writable ? 1 : 0;
    format_path_segment(job->job.path,
                        log->partitions[segment->slot].incarnation,
                        segment->base_offset,
                        segment->file_generation);
    jobs_send(log, job);
    return FILES_WAIT;
}

enum files_result
files_acquire(struct log *log, uint32_t segment_idx, bool writable, int *ret_fd)
{
    struct segment *segment = &log->segments.segments[segment_idx];

    if (segment->failed != RC_OK)
        return FILES_FAILED;
    if (segment->file == SEGMENT_NONE)
        return files_open(log, segment_idx, writable);
    struct log_file *file = &log->files[segment->file];
    if (file->state != FILE_OPEN)
        return FILES_WAIT;
    if (writable && !file->writable) {
        if (file->users == 0)
            (void)files_send_close(log, segment->file);
        return FILES_WAIT;
    }
    file->users++;
    if (log->file_newest != segment->file) {
        files_list_remove(log, segment->file);
        files_list_push(log, segment->file);
    }
    *ret_fd = file->fd;
    return FILES_READY;
}

void
files_release(struct log *log, uint32_t segment_idx)
{
    uint32_t at = log->segments.segments[segment_idx].file;

    CHECK(at != SEGMENT_NONE);
    CHECK(log->files[at].users > 0);
    log->files[at].users--;
}

uint32_t
files_adopt(struct log *log, int fd, uint32_t segment_idx)
{
    if (log->file_free == LOG_NONE) {
        struct log_job *job = jobs_take(log, JOB_FORGET, LOG_NONE, 0);
        CHECK(job != NULL); /* the job that made the descriptor has just come back */
        job->job.kind = DISK_JOB_CLOSE;
        job->job.fd = fd;
        jobs_send(log, job);
        return LOG_NONE;
    }
    uint32_t at = files_take(log);
    log->files[at] = (struct log_file){
        .fd = fd,
        .state = FILE_OPEN,
        .writable = true,
        .segment = segment_idx,
    };
    files_list_push(log, at);
    if (segment_idx != SEGMENT_NONE)
        log->segments.segments[segment_idx].file = at;
    return at;
}

void
files_assign(struct log *log, uint32_t file, uint32_t segment_idx)
{
    CHECK(log->files[file].segment == SEGMENT_NONE);
    CHECK(log->files[file].users == 1);
    log->files[file].users = 0;
    log->files[file].segment = segment_idx;
    log->segments.segments[segment_idx].file = file;
}

bool
files_discard(struct log *log, uint32_t file)
{
    CHECK(log->files[file].users == 1);
    log->files[file].users = 0;
    if (files_send_close(log, file))
        return true;
    log->files[file].users = 1;
    return false;
}

bool
files_close(struct log *log, uint32_t segment_idx)
{
    uint32_t at = log->segments.segments[segment_idx].file;

    if (at == SEGMENT_NONE)
        return true;
    if (log->files[at].state != FILE_OPEN || log->files[at].users > 0)
        return false;
    return files_send_close(log, at);
}

void
files_close_oldest_now(struct log *log)
{
    for (uint32_t at = log->file_oldest; at != LOG_NONE; at = log->files[at].newer) {
        struct log_file *file = &log->files[at];
        if (file->state != FILE_OPEN || file->users > 0)
            continue;
        disk_close(log->config.disk, file->fd);
        if (file->segment != SEGMENT_NONE)
            log->segments.segments[file->segment].file = SEGMENT_NONE;
        files_list_remove(log, at);
        files_give(log, at);
        return;
    }
}

void
files_job_done(struct log *log, struct log_job *job)
{
    struct log_file *file = &log->files[job->aux];

    if (job->purpose == JOB_CLOSE) {
        CHECK(file->state == FILE_CLOSING);
        files_give(log, job->aux);
        return;
    }
    CHECK(file->state == FILE_OPENING);
    struct segment *segment = &log->segments.segments[file->segment];
    if (job->job.result == RC_OK) {
        file->fd = job->job.fd;
        file->state = FILE_OPEN;
        return;
    }
    segment->file = SEGMENT_NONE;
    files_list_remove(log, job->aux);
    files_give(log, job->aux);
    if (rc_class(job->job.result) == RC_CLASS_RETRY)
        return; /* no descriptor or memory now: whoever needs it asks again */
    segment->failed = (uint8_t)job->job.result;
    struct partition *partition = &log->partitions[segment->slot];
    if (partition->segments.newest == (uint32_t)(segment - log->segments.segments))
        partition_fence(log, partition, job->job.result, "segment_open_failed");
    else
        diag_error("segment_open_failed",
                   "incarnation=%llu base_offset=%llu rc=%s doing=its_reads_fail",
                   (unsigned long long)partition->incarnation,
                   (unsigned long long)segment->base_offset,
                   rc_name(job->job.result));
}
