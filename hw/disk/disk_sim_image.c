/* Sparse copy-on-write file bytes; see the header. */
#include "hw/disk/disk_sim_image.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/hash.h"

#include <stdlib.h>

struct sim_page {
    uint32_t refs;
    bool hashed;   /* hash is of the bytes as they are */
    uint64_t hash; /* 0: all zero */
    uint8_t bytes[SIM_PAGE_BYTES];
};

struct sim_chunk {
    uint32_t refs;
    struct sim_page *pages[SIM_CHUNK_PAGES]; /* NULL: zeros */
};

static uint64_t pages_in_use;

static bool
all_zero(const uint8_t *at, uint64_t count)
{
    return count == 0 || (at[0] == 0 && memcmp(at, at + 1, count - 1) == 0);
}

static void
page_release(struct sim_page *page)
{
    if (page == NULL || --page->refs > 0)
        return;
    pages_in_use--;
    free(page);
}

static void
chunk_release(struct sim_chunk *chunk)
{
    if (chunk == NULL || --chunk->refs > 0)
        return;
    for (uint32_t i = 0; i < SIM_CHUNK_PAGES; i++)
        page_release(chunk->pages[i]);
    free(chunk);
}

static struct sim_page *
page_create(const struct sim_page *from)
{
    struct sim_page *page = calloc(1, sizeof(*page));
    CHECK(page != NULL);
    page->refs = 1;
    if (from != NULL)
        bytes_copy(page->bytes, sizeof(page->bytes), from->bytes, sizeof(from->bytes));
    pages_in_use++;
    return page;
}

/* The chunk with that index, owned by this image alone; created when create is true, else NULL when
 * absent. */
static struct sim_chunk *
image_own_chunk(struct sim_image *image, uint32_t idx, bool create)
{
    if (idx >= image->chunk_count) {
        if (!create)
            return NULL;
        uint32_t count = idx + 1;
        struct sim_chunk **chunks = realloc(image->chunks, count * sizeof(struct sim_chunk *));
        CHECK(chunks != NULL);
        for (uint32_t i = image->chunk_count; i < count; i++)
            chunks[i] = NULL;
        image->chunks = chunks;
        image->chunk_count = count;
    }
    struct sim_chunk *chunk = image->chunks[idx];
    if (chunk == NULL && !create)
        return NULL;
    if (chunk != NULL && chunk->refs == 1)
        return chunk;

    struct sim_chunk *own = calloc(1, sizeof(*own));
    CHECK(own != NULL);
    own->refs = 1;
    for (uint32_t i = 0; chunk != NULL && i < SIM_CHUNK_PAGES; i++) {
        own->pages[i] = chunk->pages[i];
        if (own->pages[i] != NULL)
            own->pages[i]->refs++;
    }
    chunk_release(chunk);
    image->chunks[idx] = own;
    return own;
}

/* One page's part of a write: [position, position + count) lies inside one page. */
static void
image_write_page(struct sim_image *image, const uint8_t *from, uint64_t count, uint64_t position)
{
    bool zero = all_zero(from, count);
    struct sim_chunk *chunk = image_own_chunk(image, (uint32_t)(position / SIM_CHUNK_BYTES), !zero);
    if (chunk == NULL)
        return;
    struct sim_page **slot = &chunk->pages[position / SIM_PAGE_BYTES % SIM_CHUNK_PAGES];
    if (zero && (*slot == NULL || count == SIM_PAGE_BYTES)) {
        page_release(*slot);
        *slot = NULL;
        return;
    }
    if (*slot == NULL || (*slot)->refs > 1) {
        struct sim_page *own = page_create(*slot);
        page_release(*slot);
        *slot = own;
    }
    (*slot)->hashed = false;
    uint64_t inside = position % SIM_PAGE_BYTES;
    bytes_copy((*slot)->bytes + inside, SIM_PAGE_BYTES - inside, from, count);
}

void
sim_image_write(struct sim_image *image, const void *buffer, uint64_t count, uint64_t position)
{
    CHECK(position <= SIM_IMAGE_BYTES_MAX);
    CHECK(count <= SIM_IMAGE_BYTES_MAX - position);
    const uint8_t *from = buffer;
    while (count > 0) {
        uint64_t part = min_u64(count, SIM_PAGE_BYTES - position % SIM_PAGE_BYTES);
        image_write_page(image, from, part, position);
        from += part;
        position += part;
        count -= part;
    }
}

void
sim_image_read(const struct sim_image *image, void *buffer, uint64_t count, uint64_t position)
{
    uint8_t *to = buffer;
    while (count > 0) {
        uint64_t part = min_u64(count, SIM_PAGE_BYTES - position % SIM_PAGE_BYTES);
        uint64_t chunk_idx = position / SIM_CHUNK_BYTES;
        const struct sim_page *page = NULL;
        if (chunk_idx < image->chunk_count && image->chunks[chunk_idx] != NULL)
            page = image->chunks[chunk_idx]->pages[position / SIM_PAGE_BYTES % SIM_CHUNK_PAGES];
        if (page == NULL)
            memset(to, 0, part);
        else
            bytes_copy(to, part, page->bytes + position % SIM_PAGE_BYTES, part);
        to += part;
        position += part;
        count -= part;
    }
}

/* Zeroes a chunk's bytes from `inside` on. */
static void
chunk_cut(struct sim_image *image, uint32_t chunk_idx, uint64_t inside)
{
    static const uint8_t zeros[SIM_PAGE_BYTES];
    uint64_t partial = inside % SIM_PAGE_BYTES;
    const struct sim_chunk *shared = image->chunks[chunk_idx];
    uint64_t first = inside / SIM_PAGE_BYTES;
    while (shared != NULL && first < SIM_CHUNK_PAGES && shared->pages[first] == NULL)
        first++;
    if (shared == NULL || first == SIM_CHUNK_PAGES)
        return; /* nothing to be cut: the chunk stays shared */
    struct sim_chunk *chunk = image_own_chunk(image, chunk_idx, false);
    if (partial != 0)
        image_write_page(
            image, zeros, SIM_PAGE_BYTES - partial, chunk_idx * SIM_CHUNK_BYTES + inside);
    for (uint64_t i = (inside + SIM_PAGE_BYTES - 1) / SIM_PAGE_BYTES; i < SIM_CHUNK_PAGES; i++) {
        page_release(chunk->pages[i]);
        chunk->pages[i] = NULL;
    }
}

void
sim_image_cut(struct sim_image *image, uint64_t position)
{
    for (uint64_t i = position / SIM_CHUNK_BYTES; i < image->chunk_count; i++) {
        if (i * SIM_CHUNK_BYTES >= position) {
            chunk_release(image->chunks[i]);
            image->chunks[i] = NULL;
        } else {
            chunk_cut(image, (uint32_t)i, position % SIM_CHUNK_BYTES);
        }
    }
}

void
sim_image_fini(struct sim_image *image)
{
    for (uint32_t i = 0; i < image->chunk_count; i++)
        chunk_release(image->chunks[i]);
    free(image->chunks);
    *image = (struct sim_image){0};
}

void
sim_image_clone(const struct sim_image *image, struct sim_image *ret_clone)
{
    *ret_clone = (struct sim_image){.bytes = image->bytes};
    if (image->chunk_count == 0)
        return;
    ret_clone->chunks = calloc(image->chunk_count, sizeof(struct sim_chunk *));
    CHECK(ret_clone->chunks != NULL);
    ret_clone->chunk_count = image->chunk_count;
    for (uint32_t i = 0; i < image->chunk_count; i++) {
        ret_clone->chunks[i] = image->chunks[i];
        if (ret_clone->chunks[i] != NULL)
            ret_clone->chunks[i]->refs++;
    }
}

static uint64_t
page_hash(struct sim_page *page)
{
    if (!page->hashed) {
        page->hash = all_zero(page->bytes, sizeof(page->bytes))
                         ? 0
                         : hash_xxh3(page->bytes, sizeof(page->bytes), 0) | 1;
        page->hashed = true;
    }
    return page->hash;
}

uint64_t
sim_image_hash(const struct sim_image *image, uint64_t seed)
{
    uint64_t hash = hash_xxh3(&image->bytes, sizeof(image->bytes), seed);
    for (uint32_t i = 0; i < image->chunk_count; i++) {
        for (uint32_t p = 0; image->chunks[i] != NULL && p < SIM_CHUNK_PAGES; p++) {
            struct sim_page *page = image->chunks[i]->pages[p];
            if (page == NULL || page_hash(page) == 0)
                continue;
            uint64_t words[2] = {((uint64_t)i << 32) | p, page_hash(page)};
            hash = hash_xxh3(words, sizeof(words), hash);
        }
    }
    return hash;
}

uint64_t
sim_image_pages_in_use(void)
{
    return pages_in_use;
}
