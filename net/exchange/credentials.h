/* Who may join: the credential file, and the question whether a user and secret stand in it.
 * Private to net/exchange.
 *
 * File: one "user:secret" per line; a line that begins with # and an empty one are skipped. A user
 * has [1, WIRE_USER_MAX] bytes without ':', a secret [1, WIRE_SECRET_MAX]; the secret is all behind
 * the first ':'. Secrets are not kept: of each line only a tag is, HMAC-SHA-256 over user and
 * secret under a key drawn at start. A question makes the same tag and compares it with all, so its
 * time tells nothing of who is known or how much of a secret is right. */
#ifndef EAGRE_NET_EXCHANGE_CREDENTIALS_H
#define EAGRE_NET_EXCHANGE_CREDENTIALS_H

#include "engine/base/base.h"
#include "engine/base/bytes.h"
#include "engine/base/diag.h"
#include "engine/base/rc.h"

#define CREDENTIALS_NONE UINT32_MAX

struct credentials;

/* As secret_file_read(); RC_INVALID besides for a bad line, whose number the trail has. */
enum rc credentials_create(const char *name,
                           struct credentials **ret_credentials,
                           struct diag_trail *trail) MUST_USE;
void credentials_destroy(struct credentials *credentials);
uint32_t credentials_count(const struct credentials *credentials);
/* Index of the line's entry, [0, count), or CREDENTIALS_NONE. user and secret: of any length. */
uint32_t credentials_find(const struct credentials *credentials,
                          struct bytes user,
                          struct bytes secret) MUST_USE;

#endif
