/* Internal declarations, shared by the sources of the library. A device SDK includes glp1.h only. */
#ifndef GLP1_BLOCK_H
#define GLP1_BLOCK_H

#include <stdbool.h>
#include <string.h>
#include <zstd.h>

#include "glp1.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "numbers are loaded in the byte order of the file, which needs a little-endian processor"
#endif

/* Loops over numbers are written once for all widths. Inlined with a constant width they are as fast as separate loops. */
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

/* Returns patch_corrupt if the patch violates a rule of the format. */
#define MUST(rule)                                 \
    do {                                           \
        if (!(rule)) return GLP1_PATCH_CORRUPT;    \
    } while (0)

/* A stack allocator for the memory of one block. It uses one allocation for the complete patch, and the pages that no block
 * needs are never touched. */
typedef struct {
    uint8_t *base;
    size_t size, used;
} glp1_arena;

/* The decoder of one block. The unread part of the payload is `at` to `end`. */
typedef struct {
    uint8_t *at, *end;
    glp1_arena *arena;
    ZSTD_DCtx *zstd;
    const glp1_io *io;
} glp1_decoder;

/* A parsed record of the head (§1). */
typedef struct {
    uint32_t target_size, payload_size;
    uint64_t source_offset, source_span;
    uint32_t source_size;
    uint8_t operation, reversible;
    uint8_t payload_digest[16], target_digest[16];
} glp1_record;

/* Loads or stores number `i`, of 1, 2 or 4 bytes, of an array without alignment. */
GLP1_INLINE uint32_t glp1_load(const uint8_t *numbers, size_t i, unsigned width) {
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

GLP1_INLINE void glp1_store(uint8_t *numbers, size_t i, unsigned width, uint32_t value) {
    if (width == 1) {
        numbers[i] = (uint8_t)value;
    } else if (width == 2) {
        uint16_t number = (uint16_t)value;
        memcpy(numbers + 2 * i, &number, 2);
    } else {
        memcpy(numbers + 4 * i, &value, 4);
    }
}

/* glp1_run.c: reads the payload's bytes, blobs (§2) and runs (§3). */

/* Allocates `size` bytes of the arena. Fails with patch_too_large, because no valid block needs more. */
glp1_status glp1_allocate(glp1_decoder *d, size_t size, uint8_t **memory);
/* Returns the next `size` bytes of the payload, without a copy. */
glp1_status glp1_read_bytes(glp1_decoder *d, uint64_t size, uint8_t **bytes);
glp1_status glp1_read_byte(glp1_decoder *d, uint8_t *byte);
glp1_status glp1_read_varint(glp1_decoder *d, uint64_t *number);
glp1_status glp1_read_signed(glp1_decoder *d, int64_t *number);
/* Decodes a blob of `size` bytes into the caller's memory. */
glp1_status glp1_decode_blob(glp1_decoder *d, uint8_t *out, size_t size);
/* Returns a blob: a raw one in the payload itself, another one decoded into the arena. */
glp1_status glp1_read_blob(glp1_decoder *d, size_t size, uint8_t **bytes);
/* Decodes a run of `n` numbers of `width` bytes into the caller's memory. `depth` is 0 for an outermost run. */
glp1_status glp1_decode_run(glp1_decoder *d, uint8_t *out, size_t n, unsigned width, unsigned depth);
/* Converts `n` tokens to numbers (§3, packed). Reads the run of escapes from the payload, and adds its next number to each
 * token that is `top`. `out` may be `tokens` if `width` is 1, and must not overlap them otherwise. */
glp1_status glp1_add_escapes(glp1_decoder *d, uint8_t *out, const uint8_t *tokens, size_t n, uint8_t top, unsigned width,
                         unsigned depth);

/* glp1_field.c: decodes one field of a delta lane (§2). */

enum { GLP1_MAX_FIELDS = 16, GLP1_MAX_STRIDE = 1024, GLP1_MAX_CUTS = 31 };

typedef struct {
    uint32_t offset, length; /* in the unit, bytes */
    uint8_t element;
    uint8_t *keys; /* a key per unit, by which other fields may be grouped; NULL before decoding, or without an exponent */
} glp1_field;

/* A delta lane of `units` units of `stride` bytes. The old bytes become the new ones field by field. */
typedef struct {
    uint8_t *bytes;
    size_t units;
    uint32_t stride, fields;
    glp1_field field[GLP1_MAX_FIELDS];
} glp1_lane;

/* Bytes of one value; 0 for an unknown element. */
unsigned glp1_element_width(unsigned element);
bool glp1_has_exponent(unsigned element);
glp1_status glp1_decode_field(glp1_decoder *d, glp1_lane *lane, uint32_t number);

/* glp1_block.c: decodes a coded block into the `record->target_size` bytes at `target`. */
glp1_status glp1_decode_block(glp1_decoder *d, const glp1_record *record, uint8_t *target);

#endif
