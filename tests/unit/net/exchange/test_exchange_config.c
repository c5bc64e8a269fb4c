/* Goal: what would open the door to strangers, or cannot work, is refused at start, with the
 * setting or the file named. Method: one changed field of a good configuration at a time. */
#include "tests/unit/net/exchange/fixture.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static struct fixture fixture;

TestSuite(exchange_config, .timeout = 20);

static void
refused(const struct exchange_config *config, enum rc rc, const char *says)
{
    struct exchange *exchange = NULL;
    struct diag_trail trail = {""};

    cr_assert_eq(exchange_create(config, &exchange, &trail), rc, "%s", trail.text);
    cr_assert_not_null(strstr(trail.text, says), "%s", trail.text);
    cr_assert_null(exchange);
}

Test(exchange_config, refuses_clear_text_off_loopback)
{
    fixture_prepare(&fixture, NULL);
    fixture.config.is_loopback = false;
    refused(&fixture.config, RC_DENIED, "native.tls_certificate");
    fixture.config.is_private = true;
    refused(&fixture.config, RC_DENIED, "native.tls_certificate");
    fixture_remove(&fixture);
}

Test(exchange_config, refuses_auth_none_on_a_public_address)
{
    struct fixture_options options = {.tls = true, .auth = WIRE_AUTH_NONE};
    struct exchange *exchange;
    struct diag_trail trail = {""};

    fixture_prepare(&fixture, &options);
    fixture.config.is_loopback = false;
    refused(&fixture.config, RC_DENIED, "native.auth");
    fixture.config.is_private = true;
    cr_assert_eq(exchange_create(&fixture.config, &exchange, &trail), RC_OK, "%s", trail.text);
    exchange_destroy(exchange);
    fixture.config.is_private = false;
    fixture.config.auth = WIRE_AUTH_AEAD;
    cr_assert_eq(exchange_create(&fixture.config, &exchange, &trail), RC_OK, "%s", trail.text);
    exchange_destroy(exchange);
    fixture_remove(&fixture);
}

static bool
warned(const struct exchange_config *config)
{
    struct exchange *exchange;
    struct diag_trail trail = {""};
    char said[4096] = "";

    cr_redirect_stderr();
    cr_assert_eq(exchange_create(config, &exchange, &trail), RC_OK, "%s", trail.text);
    exchange_destroy(exchange);
    fflush(stderr);
    (void)fread(said, 1, sizeof(said) - 1, cr_get_redirected_stderr());
    return strstr(said, "native_without_credentials") != NULL;
}

Test(exchange_config, warns_of_a_public_address_without_credentials)
{
    struct fixture_options options = {.tls = true, .auth = WIRE_AUTH_AEAD};

    fixture_prepare(&fixture, &options);
    cr_assert_eq(fixture.config.credentials[0], '\0');
    fixture.config.is_loopback = false;
    cr_assert(warned(&fixture.config));
    fixture_remove(&fixture);
}

Test(exchange_config, says_nothing_of_a_private_address_without_credentials)
{
    struct fixture_options options = {.tls = true, .auth = WIRE_AUTH_AEAD};

    fixture_prepare(&fixture, &options);
    fixture.config.is_loopback = false;
    fixture.config.is_private = true;
    cr_assert_not(warned(&fixture.config));
    fixture_remove(&fixture);
}

Test(exchange_config, refuses_limits_that_one_io_ring_cannot_hold)
{
    fixture_prepare(&fixture, NULL);
    fixture.config.connections_max = 0;
    refused(&fixture.config, RC_INVALID, "native.sessions_max");
    fixture.config.connections_max = EXCHANGE_CONNECTIONS_MAX + 1;
    refused(&fixture.config, RC_INVALID, "2048");
    fixture_remove(&fixture);
}

Test(exchange_config, refuses_a_certificate_or_key_that_is_missing_or_none)
{
    struct fixture_options options = {.tls = true};
    struct exchange_config config;
    char other[128];

    fixture_prepare(&fixture, &options);
    config = fixture.config;
    config.tls_key = "";
    refused(&config, RC_INVALID, "native.tls_key");
    config = fixture.config;
    config.tls_certificate = "";
    refused(&config, RC_INVALID, "native.tls_certificate");
    config = fixture.config;
    fixture_path(&fixture, "other.pem", other);
    config.tls_key = other;
    refused(&config, RC_NOT_FOUND, other);
    fixture_file(other, "no key\n", 0600);
    refused(&config, RC_INVALID, other);
    fixture_file(other, "", 0600);
    refused(&config, RC_INVALID, other);
    config = fixture.config;
    config.tls_certificate = other;
    refused(&config, RC_INVALID, other);
    fixture_remove(&fixture);
}

Test(exchange_config, refuses_a_key_that_others_can_read_and_the_key_of_another_certificate)
{
    struct fixture_options options = {.tls = true};
    struct exchange_config config;
    char users[128];
    char other[128];

    fixture_prepare(&fixture, &options);
    cr_assert_eq(chmod(fixture.config.tls_key, 0644), 0);
    refused(&fixture.config, RC_DENIED, "chmod 600");
    refused(&fixture.config, RC_DENIED, fixture.config.tls_key);
    cr_assert_eq(chmod(fixture.config.tls_key, 0600), 0);
    fixture_path(&fixture, "other.pem", other);
    fixture_path(&fixture, "users", users);
    fixture_certificate(users, other);
    config = fixture.config;
    config.tls_key = other;
    refused(&config, RC_INVALID, other);
    fixture_remove(&fixture);
}

Test(exchange_config, refuses_credentials_that_cannot_be_used)
{
    struct fixture_options options = {.credentials = "alice\n"};

    fixture_prepare(&fixture, &options);
    refused(&fixture.config, RC_INVALID, "line 1");
    cr_assert_eq(chmod(fixture.config.credentials, 0640), 0);
    refused(&fixture.config, RC_DENIED, "chmod 600");
    fixture_remove(&fixture);
}
