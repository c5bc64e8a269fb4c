/* Reads from the slab ring. Private to log/read. */
#ifndef EAGRE_LOG_READ_TAIL_READ_H
#define EAGRE_LOG_READ_TAIL_READ_H

#include "log/append/store.h"

/* Start, high watermark, end, epoch and bytes of the partition. */
void read__fill(const struct partition *partition, struct log_read_result *ret_result);
/* Copies whole batches from the one that contains request->offset. False: it does not stand in the
 * ring. rc, bytes and base_offset are filled only when true. */
bool read__tail(struct log *log,
                struct partition *partition,
                const struct log_read_request *request,
                struct log_read_result *result);

#endif
