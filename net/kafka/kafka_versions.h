/* ApiVersions (API 18): what is advertised, and the answer. Pure; any core; allocates nothing;
 * never blocks.
 *
 * The ranges are those of messages.def. A request of a version we do not know is answered at once
 * in the form of version 0 with error 35 and the range of ApiVersions alone (KIP-511); its body is
 * not looked at. From version 3 on software name and version must be letters, digits, '-' and '.',
 * beginning and ending with a letter or digit, else error 42; and the answer tells the features:
 * group.version 1, the consumer protocol (KIP-848), is in force. */
#ifndef EAGRE_NET_KAFKA_KAFKA_VERSIONS_H
#define EAGRE_NET_KAFKA_KAFKA_VERSIONS_H

#include "net/kafka/kafka_frame.h"

/* No answer, size field included, is longer (a unit test holds it). */
#define KAFKA_VERSIONS_BYTES_MAX 512u

/* Writes the whole frame, size field included, that answers an ApiVersions request of any version.
 *
 * body   The request's body, header.body_bytes long; empty when the header's version is not served.
 * throttle_ms  How long the client's next request is going to wait, 0: not at all.
 *
 * RC_OK or RC_MALFORMED (close the connection; nothing was written). */
MUST_USE enum rc kafka_versions_answer(struct writer *writer,
                                       const struct kafka_request_header *header,
                                       struct bytes body,
                                       uint32_t throttle_ms);

/* Whether a client software name or version is allowed. */
bool kafka_versions_software_ok(struct bytes text);

#endif
