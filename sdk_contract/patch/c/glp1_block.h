/* Inside: what the three sources share. A device SDK includes glp1.h only. */
#ifndef GLP1_BLOCK_H
#define GLP1_BLOCK_H

#include <stdbool.h>
#include <string.h>
#include <zstd.h>

#include "glp1.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "numbers are loaded as they lie in the file: little-endian processors only"
#endif

/* The loops over numbers are written once for all widths; inlined with a constant width they are as fast as three. */
#if defined(__GNUC__)
#define GLP1_INLINE static inline __attribute__((always_inline))
#else
#define GLP1_INLINE static inline
#endif

#define TRY(call)                                  \
    do {                                           \
        glp1_status try_status = (call);           \
        if (try_status != GLP1_OK) return try_status; \
    } while (0)

/* Refuses a patch that breaks a rule of the page. */
#define MUST(rule)                                 \
    do {                                           \
        if (!(rule)) return GLP1_PATCH_CORRUPT;    \
    } while (0)

/* Memory for one block: taken in order, given back all at once or down to a mark. It is one allocation for the whole patch,
 * of which a page that no block ever needs is never touched. */
typedef struct {
    uint8_t *base;
    size_t size, used;
} glp1_arena;

/* One block in work. `at..end` is what is left of the payload. */
typedef struct {
    uint8_t *at, *end;
    glp1_arena *arena;
    ZSTD_DCtx *zstd;
    const glp1_io *io;
} glp1_decoder;

/* A record of the head (§1), as numbers. */
typedef struct {
    uint32_t target_size, payload_size;
    uint64_t source_offset, source_span;
    uint32_t source_size;
    uint8_t operation, reversible;
    uint8_t payload_digest[16], target_digest[16];
} glp1_record;

/* Numbers of 1, 2 or 4 bytes at place `i` of an array that may lie anywhere. */
GLP1_INLINE uint32_t glp1_get(const uint8_t *numbers, size_t i, unsigned width) {
    if (width == 1) return numbers[i];
    if (width == 2) {
        uint16_t number;
        memcpy(&number, numbers + 2 * i, 2);
        return number;
    }
    uint32_t number;
    memcpy(&number, numbers + 4 * i, 4);
    return number;
}

GLP1_INLINE void glp1_put(uint8_t *numbers, size_t i, unsigned width, uint32_t value) {
    if (width == 1) {
        numbers[i] = (uint8_t)value;
    } else if (width == 2) {
        uint16_t number = (uint16_t)value;
        memcpy(numbers + 2 * i, &number, 2);
    } else {
        memcpy(numbers + 4 * i, &value, 4);
    }
}

/* glp1_run.c: the payload's bytes, blobs (§2) and runs (§3). */

/* `size` bytes of the arena, or patch_too_large: no honest block needs so much. */
glp1_status glp1_take_memory(glp1_decoder *d, size_t size, uint8_t **memory);
/* The next `size` bytes of the payload, where they lie. */
glp1_status glp1_bytes(glp1_decoder *d, uint64_t size, uint8_t **bytes);
glp1_status glp1_byte(glp1_decoder *d, uint8_t *byte);
glp1_status glp1_varint(glp1_decoder *d, uint64_t *number);
glp1_status glp1_signed(glp1_decoder *d, int64_t *number);
/* A blob of `size` bytes, into memory of the caller. */
glp1_status glp1_blob(glp1_decoder *d, uint8_t *out, size_t size);
/* A blob, wherever it is cheapest: in the payload, or in the arena. */
glp1_status glp1_view(glp1_decoder *d, size_t size, uint8_t **bytes);
/* A run of `n` numbers of `width` bytes, into memory of the caller. `depth` is 0 for an outermost run. */
glp1_status glp1_run(glp1_decoder *d, uint8_t *out, size_t n, unsigned width, unsigned depth);
/* The numbers of `n` tokens (§3, packed): each is its token, plus the next number of the run of escapes, which is what comes
 * next in the payload, where the token is `top`. `out` may be `tokens` if `width` is 1, and must not overlap them otherwise. */
glp1_status glp1_escaped(glp1_decoder *d, uint8_t *out, const uint8_t *tokens, size_t n, uint8_t top, unsigned width,
                         unsigned depth);

/* glp1_field.c: one field of a delta lane (§2). */

enum { GLP1_LANE_FIELDS = 16, GLP1_STRIDE = 1024, GLP1_CUTS = 31 };

typedef struct {
    uint32_t offset, length; /* in the unit, bytes */
    uint8_t element;
    uint8_t *keys; /* of each unit, once decoded: what a field that this one leads is grouped by. NULL if it cannot lead */
} glp1_field;

/* A delta lane: `units` units of `stride` bytes, which are the old ones and become the new ones field by field. */
typedef struct {
    uint8_t *bytes;
    size_t units;
    uint32_t stride, fields;
    glp1_field field[GLP1_LANE_FIELDS];
} glp1_lane;

/* Bytes of a value of an element, 0 where there is no such element. */
unsigned glp1_element_width(unsigned element);
bool glp1_has_exponent(unsigned element);
glp1_status glp1_field_decode(glp1_decoder *d, glp1_lane *lane, uint32_t number);

/* glp1_block.c: a coded block. Makes `record->target_size` bytes at `target` from the payload and the source. */
glp1_status glp1_block_decode(glp1_decoder *d, const glp1_record *record, uint8_t *target);

#endif
