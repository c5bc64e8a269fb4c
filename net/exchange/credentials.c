/* The tag covers the user's length, the user and the secret, so that "ab" + "c" and "a" + "bc" are
 * two. Turned down: a lookup by user followed by a comparison of the secret, whose time tells a
 * known user from an unknown one; and slow password hashes, because the file is 0600 and the tags
 * never leave the process. */
#include "net/exchange/credentials.h"

#include "engine/base/check.h"
#include "hw/mem/mem.h"
#include "net/exchange/exchange.h"
#include "net/exchange/secret_file.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#define TAG_BYTES 32u
#define CREDENTIALS_FILE_BYTES_MAX (1 * MIB)

struct credential {
    uint8_t tag[TAG_BYTES];
    uint8_t user_bytes;
    uint8_t user[WIRE_USER_MAX];
};

struct credentials {
    uint8_t key[TAG_BYTES];
    uint32_t count;
    struct credential entries[EXCHANGE_CREDENTIALS_MAX];
};

_Static_assert(WIRE_USER_MAX <= UINT8_MAX, "user_bytes");

static bool
make_tag(const struct credentials *credentials,
         struct bytes user,
         struct bytes secret,
         uint8_t tag[TAG_BYTES])
{
    uint8_t text[2 + WIRE_USER_MAX + WIRE_SECRET_MAX];
    struct writer writer = writer_over(text, sizeof(text));
    unsigned tag_bytes = 0;

    writer_u16_le(&writer, (uint16_t)user.count);
    writer_bytes(&writer, user.at, user.count);
    writer_bytes(&writer, secret.at, secret.count);
    bool made = user.count <= WIRE_USER_MAX && !writer.failed &&
                HMAC(EVP_sha256(),
                     credentials->key,
                     TAG_BYTES,
                     text,
                     writer_count(&writer),
                     tag,
                     &tag_bytes) != NULL;
    explicit_bzero(text, sizeof(text));
    return made && tag_bytes == TAG_BYTES;
}

uint32_t
credentials_count(const struct credentials *credentials)
{
    return credentials->count;
}

uint32_t
credentials_find(const struct credentials *credentials, struct bytes user, struct bytes secret)
{
    uint8_t tag[TAG_BYTES];
    uint32_t found = CREDENTIALS_NONE;

    if (!make_tag(credentials, user, secret, tag))
        return CREDENTIALS_NONE;
    /* All entries, whatever was found: no early end, no branch that depends on a secret. */
    for (uint32_t i = 0; i < credentials->count; i++) {
        uint32_t differs = CRYPTO_memcmp(tag, credentials->entries[i].tag, TAG_BYTES) != 0;
        uint32_t mask = differs - 1; /* all ones: this one */
        found = (found & ~mask) | (i & mask);
    }
    return found;
}

static bool
is_known_user(const struct credentials *credentials, struct bytes user)
{
    for (uint32_t i = 0; i < credentials->count; i++) {
        const struct credential *entry = &credentials->entries[i];
        if (entry->user_bytes == user.count && memcmp(entry->user, user.at, user.count) == 0)
            return true;
    }
    return false;
}

/* What is wrong with a line, or NULL. */
static const char *
add_line(struct credentials *credentials, const char *line, size_t count)
{
    const char *colon = memchr(line, ':', count);

    if (colon == NULL)
        return "has no ':' between user and secret";
    struct bytes user = {(const uint8_t *)line, (size_t)(colon - line)};
    struct bytes secret = {(const uint8_t *)colon + 1, count - user.count - 1};
    if (user.count < 1 || user.count > WIRE_USER_MAX)
        return "needs a user of 1 to 128 bytes";
    if (secret.count < 1 || secret.count > WIRE_SECRET_MAX)
        return "needs a secret of 1 to 256 bytes";
    if (is_known_user(credentials, user))
        return "names a user a second time";
    if (credentials->count == EXCHANGE_CREDENTIALS_MAX)
        return "is one too many: 1024 users at most";
    struct credential *entry = &credentials->entries[credentials->count];
    if (!make_tag(credentials, user, secret, entry->tag))
        return "cannot be hashed";
    entry->user_bytes = (uint8_t)user.count;
    bytes_copy(entry->user, sizeof(entry->user), user.at, user.count);
    credentials->count++;
    return NULL;
}

static enum rc
add_lines(struct credentials *credentials,
          const struct secret_file *file,
          const char *name,
          struct diag_trail *trail)
{
    const char *at = file->bytes;
    const char *end = file->bytes + file->count;

    for (uint32_t number = 1; at < end; number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline != NULL ? newline : end;
        size_t count = (size_t)(line_end - at);
        if (count > 0 && at[count - 1] == '\r')
            count--;
        const char *wrong = count == 0 || *at == '#' ? NULL : add_line(credentials, at, count);
        if (wrong != NULL) {
            diag_trail_add(trail, "%s: line %u %s", name, number, wrong);
            return RC_INVALID;
        }
        at = line_end + 1;
    }
    if (credentials->count > 0)
        return RC_OK;
    diag_trail_add(trail, "%s: no line \"user:secret\"", name);
    return RC_INVALID;
}

enum rc
credentials_create(const char *name, struct credentials **ret_credentials, struct diag_trail *trail)
{
    struct secret_file file;
    struct credentials *credentials = NULL;
    enum rc rc = secret_file_read(&file, name, CREDENTIALS_FILE_BYTES_MAX, trail);

    if (rc != RC_OK)
        return rc;
    credentials = mem_boot_alloc(sizeof(*credentials));
    if (credentials == NULL || RAND_bytes(credentials->key, TAG_BYTES) != 1)
        rc = RC_NO_MEMORY;
    else
        rc = add_lines(credentials, &file, name, trail);
    secret_file_clear(&file);
    if (rc == RC_OK)
        *ret_credentials = credentials;
    else
        credentials_destroy(credentials);
    return rc;
}

void
credentials_destroy(struct credentials *credentials)
{
    if (credentials == NULL)
        return;
    explicit_bzero(credentials, sizeof(*credentials));
    mem_boot_free(credentials);
}
