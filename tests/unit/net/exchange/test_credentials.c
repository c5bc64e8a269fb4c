/* Goal: a credential file that others can read or that has a bad line is refused by name and line;
 * who stands in it is found by user and secret together, and at the same cost whoever asks.
 * Method: files of a temporary directory, bad input first. */
#include "net/exchange/credentials.h"
#include "tests/unit/net/exchange/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char directory[64];
static char path[128];

static void
setup(void)
{
    snprintf(directory, sizeof(directory), "/tmp/eagre-exchange-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/users", directory);
}

static void
teardown(void)
{
    (void)unlink(path);
    (void)rmdir(directory);
}

TestSuite(credentials, .init = setup, .fini = teardown, .timeout = 20);

static enum rc
load(const char *text, struct credentials **ret, struct diag_trail *trail)
{
    *trail = (struct diag_trail){""};
    fixture_file(path, text, 0600);
    enum rc rc = credentials_create(path, ret, trail);
    cr_assert_eq(rc == RC_OK, trail->text[0] == '\0', "%s", trail->text);
    return rc;
}

static uint32_t
find(const struct credentials *credentials, const char *user, const char *secret)
{
    return credentials_find(credentials, text_of(user), text_of(secret));
}

Test(credentials, are_refused_when_others_can_read_or_write_them)
{
    static const unsigned modes[] = {0640, 0604, 0620, 0602, 0610, 0601, 0666};
    struct credentials *credentials = NULL;
    char mends[160];

    snprintf(mends, sizeof(mends), "chmod 600 %s", path);
    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        struct diag_trail trail = {""};
        fixture_file(path, "a:b\n", modes[i]);
        cr_assert_eq(credentials_create(path, &credentials, &trail), RC_DENIED, "%o", modes[i]);
        cr_assert_not_null(strstr(trail.text, mends), "%s", trail.text);
    }
    cr_assert_null(credentials);
}

Test(credentials, are_refused_when_there_is_no_such_file_or_it_is_none)
{
    struct credentials *credentials = NULL;
    struct diag_trail trail = {""};

    cr_assert_eq(credentials_create(path, &credentials, &trail), RC_NOT_FOUND);
    cr_assert_not_null(strstr(trail.text, path));
    cr_assert_eq(credentials_create("/dev/null", &credentials, &trail), RC_INVALID);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_neq(credentials_create(path, &credentials, &trail), RC_OK);
    cr_assert_eq(rmdir(path), 0);
    cr_assert_null(credentials);
}

Test(credentials, name_the_line_that_is_wrong)
{
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"", "no line"},
        {"# only\n\n# comments\n", "no line"},
        {"a:b\nnobody\n", "line 2 has no ':'"},
        {"a:b\n\n#x\n:secret\n", "line 4 needs a user"},
        {"a:\n", "line 1 needs a secret"},
        {"a:b\nc:d\na:e\n", "line 3 names a user a second time"},
    };
    struct credentials *credentials = NULL;
    struct diag_trail trail;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cr_assert_eq(load(cases[i].text, &credentials, &trail), RC_INVALID, "%s", cases[i].text);
        cr_assert_not_null(strstr(trail.text, cases[i].says), "%s", trail.text);
        cr_assert_not_null(strstr(trail.text, path));
        cr_assert_null(strstr(trail.text, "secret\n"));
    }
    cr_assert_null(credentials);
}

Test(credentials, have_limits_that_hold_to_the_byte)
{
    struct credentials *credentials = NULL;
    struct diag_trail trail;
    char text[512];

    for (int over = 0; over < 2; over++) {
        snprintf(text, sizeof(text), "%0*d:s\n", (int)WIRE_USER_MAX + over, 1);
        cr_assert_eq(load(text, &credentials, &trail), over ? RC_INVALID : RC_OK);
        if (!over)
            credentials_destroy(credentials);
        snprintf(text, sizeof(text), "u:%0*d", (int)WIRE_SECRET_MAX + over, 1);
        cr_assert_eq(load(text, &credentials, &trail), over ? RC_INVALID : RC_OK);
        if (!over)
            credentials_destroy(credentials);
    }
}

static char *
many_users(uint32_t count)
{
    char *text = malloc((size_t)count * 32 + 1);
    size_t at = 0;

    for (uint32_t i = 0; i < count; i++)
        at += (size_t)snprintf(text + at, 32, "user%u:secret%u\n", i, i);
    return text;
}

Test(credentials, are_1024_at_most)
{
    struct credentials *credentials = NULL;
    struct diag_trail trail;
    char *text = many_users(EXCHANGE_CREDENTIALS_MAX + 1);

    cr_assert_eq(load(text, &credentials, &trail), RC_INVALID);
    cr_assert_not_null(strstr(trail.text, "line 1025"), "%s", trail.text);
    free(text);
    text = many_users(EXCHANGE_CREDENTIALS_MAX);
    cr_assert_eq(load(text, &credentials, &trail), RC_OK);
    free(text);
    cr_assert_eq(credentials_count(credentials), EXCHANGE_CREDENTIALS_MAX);
    for (uint32_t i = 0; i < EXCHANGE_CREDENTIALS_MAX; i++) {
        char user[32];
        char secret[32];
        snprintf(user, sizeof(user), "user%u", i);
        snprintf(secret, sizeof(secret), "secret%u", i);
        cr_assert_eq(find(credentials, user, secret), i);
    }
    credentials_destroy(credentials);
}

Test(credentials, are_found_by_user_and_secret_together)
{
    struct credentials *credentials;
    struct diag_trail trail;
    uint8_t longer[WIRE_SECRET_MAX + 1];

    cr_assert_eq(
        load("# people\r\n\nalice:one\r\nbob:two:three\nab:c\ncarol: \n", &credentials, &trail),
        RC_OK);
    cr_assert_eq(credentials_count(credentials), 4u);
    cr_assert_eq(find(credentials, "alice", "one"), 0u);
    cr_assert_eq(find(credentials, "bob", "two:three"), 1u);
    cr_assert_eq(find(credentials, "carol", " "), 3u);
    static const char *const wrong[][2] = {
        {"alice", "two:three"},
        {"alice", "on"},
        {"alice", "one "},
        {"alice", ""},
        {"Alice", "one"},
        {"", "one"},
        {"a", "bc"},
        {"abc", ""},
        {"", "abc"},
        {"bob:two", "three"},
        {"# people", ""},
        {"", ""},
    };
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++)
        cr_assert_eq(find(credentials, wrong[i][0], wrong[i][1]),
                     CREDENTIALS_NONE,
                     "%s:%s",
                     wrong[i][0],
                     wrong[i][1]);
    memset(longer, 'x', sizeof(longer));
    struct bytes too_long = {longer, sizeof(longer)};
    cr_assert_eq(credentials_find(credentials, text_of("alice"), too_long), CREDENTIALS_NONE);
    cr_assert_eq(credentials_find(credentials, too_long, text_of("one")), CREDENTIALS_NONE);
    credentials_destroy(credentials);
}

static uint64_t
question_ns(const struct credentials *credentials, const char *user, const char *secret)
{
    uint64_t least = UINT64_MAX;

    for (uint32_t i = 0; i < 2000; i++) {
        struct timespec begin;
        struct timespec end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        (void)!find(credentials, user, secret);
        clock_gettime(CLOCK_MONOTONIC, &end);
        least = min_u64(least,
                        (uint64_t)(end.tv_sec - begin.tv_sec) * NS_PER_S +
                            (uint64_t)(end.tv_nsec - begin.tv_nsec));
    }
    return least;
}

/* The least of many runs, because whatever else the machine does only adds. Stopping at the first
 * entry that fits would make the first case a fraction of the others. */
Test(credentials, cost_the_same_for_whoever_asks)
{
    static const char *const cases[][2] = {
        {"user0", "secret0"},
        {"user0", "secret9"},
        {"user1023", "secret1023"},
        {"nobod", "secret0"},
    };
    struct credentials *credentials;
    struct diag_trail trail;
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    char *text = many_users(EXCHANGE_CREDENTIALS_MAX);

    cr_assert_eq(load(text, &credentials, &trail), RC_OK);
    free(text);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint64_t ns = question_ns(credentials, cases[i][0], cases[i][1]);
        least = min_u64(least, ns);
        most = max_u64(most, ns);
    }
    cr_log_info("%lu to %lu ns", (unsigned long)least, (unsigned long)most);
    cr_assert_lt(most, least + least / 3);
    credentials_destroy(credentials);
}
