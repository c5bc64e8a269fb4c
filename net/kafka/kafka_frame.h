/* The outside of Kafka messages: frame length, request header, response header. Pure; any core;
 * allocates nothing; never blocks.
 *
 *   frame            int32 size, then size bytes
 *   request header   int16 api key, int16 version, int32 correlation id, int16 length + client id
 * (-1: null), and in flexible versions a tagged section ("header v2"; the client id stays
 * int16-length) response header  int32 correlation id, and in flexible versions one zero byte,
 * except for ApiVersions, whose answer must be readable before versions are agreed upon */
#ifndef EAGRE_NET_KAFKA_KAFKA_FRAME_H
#define EAGRE_NET_KAFKA_KAFKA_FRAME_H

#include "net/kafka/kafka_message.h"

#define KAFKA_FRAME_PREFIX_BYTES 4u
#define KAFKA_FRAME_BYTES_MIN 8u /* api key, version, correlation id */
/* Size field and header together; longer ones (a client id of over 1,000 bytes) are refused as
 * malformed, so that a header always fits an idle connection's slab. */
#define KAFKA_HEADER_BYTES_MAX 1024u

enum kafka_parse {
    KAFKA_PARSE_OK,
    KAFKA_PARSE_MORE,      /* give more bytes and ask again; nothing was consumed */
    KAFKA_PARSE_MALFORMED, /* close the connection */
};

struct kafka_request_header {
    const struct kafka_api *api; /* NULL: unknown key, close without an answer */
    bool
        served; /* version in the served range; else close, except ApiVersions (kafka_versions.h) */
    bool flexible;
    int16_t api_key;
    int16_t api_version;
    int32_t correlation_id;
    uint32_t frame_bytes;   /* what the size field says: whole frame is 4 + frame_bytes */
    uint32_t header_bytes;  /* from the size field to the first byte of the body */
    uint32_t body_bytes;    /* 4 + frame_bytes - header_bytes */
    struct bytes client_id; /* borrowed; at == NULL: null */
};

/* Parses size field and header of the frame that begins at `at`; safe to repeat while bytes arrive.
 *
 * at               [available], the first byte being the size field's.
 * frame_bytes_max  Largest size accepted (the setting of the connection), >= KAFKA_FRAME_BYTES_MIN.
 * ret              Written only with KAFKA_PARSE_OK. With api == NULL or !served nothing behind the
 * correlation id was looked at: client_id is null, and header_bytes is 12. */
MUST_USE enum kafka_parse kafka_request_header_parse(const uint8_t *at,
                                                     size_t available,
                                                     uint32_t frame_bytes_max,
                                                     struct kafka_request_header *ret);

/* The same for a frame that is here whole and without its size field, as it crosses to the control
 * tile; header_bytes then counts from the api key. Never KAFKA_PARSE_MORE. */
MUST_USE enum kafka_parse kafka_request_header_read(struct bytes frame,
                                                    struct kafka_request_header *ret);

/* Bytes of a response header, [4, 5]. */
uint32_t kafka_response_header_bytes(const struct kafka_api *api, int16_t version);

/* Writes the response header: correlation id and, where due, the empty tagged section. */
void kafka_response_header(struct writer *writer,
                           const struct kafka_api *api,
                           int16_t version,
                           int32_t correlation_id);

/* Where in the body of an answer the time stands that the client is throttled for (32 bits, ms);
 * -1: it tells none. Not for Produce and ApiVersions, which have it behind their arrays. */
int32_t kafka_throttle_at(const struct kafka_api *api, int16_t version);

/* A frame whose size is known only at its end: begin leaves room and returns the place, end fills
 * it in. */
uint8_t *kafka_frame_begin(struct writer *writer);
void kafka_frame_end(struct writer *writer, uint8_t *begin);

#endif
