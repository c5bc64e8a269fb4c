/* See fixture.h. */
#include "tests/unit/net/exchange/fixture.h"

#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void
fixture_path(struct fixture *fixture, const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", fixture->directory, name);
}

void
fixture_file(const char *path, const char *text, unsigned mode)
{
    FILE *file = fopen(path, "we");

    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fchmod(fileno(file), mode), 0);
    cr_assert_eq(fwrite(text, 1, strlen(text), file), strlen(text));
    cr_assert_eq(fclose(file), 0);
}

void
fixture_certificate(const char *certificate, const char *key)
{
    EVP_PKEY *pair = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    FILE *file;

    cr_assert_not_null(pair);
    cr_assert_not_null(x509);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), -60);
    X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
    X509_set_pubkey(x509, pair);
    X509_NAME *name = X509_get_subject_name(x509);
    X509_NAME_add_entry_by_txt(
        name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(x509, name);
    cr_assert_gt(X509_sign(x509, pair, EVP_sha256()), 0);
    fixture_file(certificate, "", 0644);
    fixture_file(key, "", 0600);
    file = fopen(certificate, "we");
    cr_assert_eq(PEM_write_X509(file, x509), 1);
    fclose(file);
    file = fopen(key, "we");
    cr_assert_eq(PEM_write_PrivateKey(file, pair, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    X509_free(x509);
    EVP_PKEY_free(pair);
}

static void
fixture_ring(struct ring *ring, uint32_t slot_bytes, uint32_t slots)
{
    size_t bytes = round_up(ring_footprint(slot_bytes, slots), BASE_LINE_BYTES);

    ring_init(ring, kept(aligned_alloc(BASE_LINE_BYTES, bytes)), slot_bytes, slots);
}

static bool
gate_submit(struct io *io, const struct io_request *request)
{
    struct fixture *fixture = (struct fixture *)(void *)((uint8_t *)io -
                                                         offsetof(struct fixture, gate));

    fixture->submits++;
    if (fixture->refuse_every != 0 && fixture->submits % fixture->refuse_every == 0)
        return false;
    return io_submit(fixture->io, request);
}

static const struct io_ops gate_ops = {.submit = gate_submit};

static void
fixture_secrets(struct fixture *fixture, const struct fixture_options *options)
{
    static char certificate[128];
    static char key[128];
    static char credentials[128];

    fixture->config.tls_certificate = "";
    fixture->config.tls_key = "";
    fixture->config.credentials = "";
    if (options->tls) {
        fixture_path(fixture, "cert.pem", certificate);
        fixture_path(fixture, "key.pem", key);
        fixture_certificate(certificate, key);
        fixture->config.tls_certificate = certificate;
        fixture->config.tls_key = key;
    }
    if (options->credentials != NULL) {
        fixture_path(fixture, "users", credentials);
        fixture_file(credentials, options->credentials, 0600);
        fixture->config.credentials = credentials;
    }
}

void
fixture_prepare(struct fixture *fixture, const struct fixture_options *options)
{
    const struct fixture_options none = {0};
    const struct fixture_options *o = options != NULL ? options : &none;
    struct diag_trail trail = {""};
    uint32_t slots = o->ring_slots == 0 ? 16 : o->ring_slots;

    memset(fixture, 0, sizeof(*fixture));
    snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/eagre-exchange-XXXXXX");
    cr_assert_not_null(mkdtemp(fixture->directory));
    clock_init_sim(&fixture->clock, 7, 1700000000000);
    cr_assert_eq(io_create(IO_BODY_AUTO, &fixture->io, &trail), RC_OK, "%s", trail.text);
    cr_assert_eq(tcp_listen(tcp_real(), "127.0.0.1", 0, &fixture->listener, &fixture->port, &trail),
                 RC_OK);
    fixture->gate.ops = &gate_ops;
    fixture->config = (struct exchange_config){
        .io_tile = FIXTURE_TILE,
        .io = &fixture->gate,
        .tcp = tcp_real(),
        .clock = &fixture->clock,
        .listener_fd = fixture->listener,
        .door_count = o->door_count == 0 ? 1 : o->door_count,
        .connections_max = o->connections_max == 0 ? 8 : o->connections_max,
        .door_sessions_max = o->door_sessions_max,
        .datagram_bytes_max = 1400,
        .window = 200,
        .idle_ms = 10000,
        .broker_id = 77,
        .auth = o->auth,
        .is_loopback = true,
    };
    for (uint32_t i = 0; i < fixture->config.door_count; i++) {
        fixture_ring(&fixture->grants[i], sizeof(struct door_grant), slots);
        fixture_ring(&fixture->events[i], sizeof(struct door_event), slots);
        fixture->wakers[i].io = fixture->io;
        fixture->config.doors[i] = (struct exchange_door_link){
            .grants = &fixture->grants[i],
            .events = &fixture->events[i],
            .waker = &fixture->wakers[i],
            .port = (uint16_t)(FIXTURE_PORT + i),
        };
    }
    fixture_secrets(fixture, o);
}

void
fixture_start(struct fixture *fixture, const struct fixture_options *options)
{
    struct diag_trail trail = {""};

    fixture_prepare(fixture, options);
    cr_assert_eq(
        exchange_create(&fixture->config, &fixture->exchange, &trail), RC_OK, "%s", trail.text);
    fixture_pump(fixture); /* the first accept is under way */
    fixture->descriptors = fixture_descriptors();
}

void
fixture_remove(struct fixture *fixture)
{
    static const char *const names[] = {"cert.pem", "key.pem", "users", "other.pem"};
    char path[128];

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        fixture_path(fixture, names[i], path);
        (void)unlink(path);
    }
    cr_assert_eq(rmdir(fixture->directory), 0, "%s", fixture->directory);
    tcp_close(tcp_real(), fixture->listener);
    io_destroy(fixture->io);
}

void
fixture_finish(struct fixture *fixture)
{
    fixture_pump(fixture);
    cr_assert_eq(fixture_descriptors(), fixture->descriptors, "descriptors left");
    exchange_stop(fixture->exchange);
    for (uint32_t i = 0; i < 100 && !exchange_is_stopped(fixture->exchange); i++)
        fixture_pump(fixture);
    cr_assert(exchange_is_stopped(fixture->exchange));
    exchange_destroy(fixture->exchange);
    fixture_remove(fixture);
}

static uint32_t
pump_once(struct fixture *fixture)
{
    struct io_completion completions[64];
    uint32_t count = io_reap(fixture->io, completions, ARRAY_COUNT(completions));

    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(io_tag_tile(completions[i].tag), FIXTURE_TILE);
        exchange_tile_ops.complete(fixture->exchange, completions[i].tag, completions[i].result);
    }
    struct tile_report report = exchange_tile_ops.poll(fixture->exchange,
                                                       clock_now_ns(&fixture->clock));
    bool has_work = exchange_tile_ops.has_work(fixture->exchange);
    return count + report.work + (has_work ? 1 : 0);
}

void
fixture_pump(struct fixture *fixture)
{
    uint32_t idle = 0;

    fixture->pumping = true;
    for (uint32_t i = 0; i < 10000 && idle < 4; i++) {
        idle = pump_once(fixture) > 0 ? 0 : idle + 1;
        if (idle > 1)
            io_wait(fixture->io, 100 * NS_PER_US);
    }
    fixture->pumping = false;
}

void
fixture_advance(struct fixture *fixture, uint64_t ns)
{
    clock_sim_advance(&fixture->clock, ns);
    fixture_pump(fixture);
}

uint32_t
fixture_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    uint32_t count = 0;

    cr_assert_not_null(directory);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

uint64_t
fixture_count(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

bool
door_take(struct fixture *fixture, uint32_t door, struct door_grant *ret)
{
    return ring_pop(&fixture->grants[door], ret, 1) == 1;
}

void
door_give(struct fixture *fixture, const struct door_grant *grant)
{
    struct door_event event = {
        .kind = DOOR_CLOSED, .session_id = grant->session_id, .cipher = grant->cipher};

    cr_assert_eq(ring_push(&fixture->events[grant->session_id & 0xff], &event, 1), 1u);
    fixture_pump(fixture);
}
