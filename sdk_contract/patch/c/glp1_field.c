/* Decodes the fields of delta lanes (§2): reads the symbols, grouped or not, and applies them to the old values.
 *
 * The symbols of a field are first put into the order of its values, then added to the values in place.
 */
#include "glp1_block.h"

enum { INT8 = 1, INT4, BF16, F16, F32, INT16, INT32, XOR8 };
enum { UNGROUPED, BY_EXPONENT, BY_LEADER, BY_EXPONENT_IN_QUADS };
enum { MAX_LEADER_KEY = 15, MAX_QUAD_CUTS = 3, ESCAPE = 255 };

/* The values of a field in the lane: `rows` rows of contiguous values. A field that fills its unit is a single row. */
typedef struct {
    uint8_t *first;
    size_t rows, row_bytes, row_values, values;
    uint8_t element;
    unsigned width; /* of a symbol */
} values;

/* The group of each key, which is the number of cuts that are at most the key. */
typedef struct {
    unsigned groups;
    uint8_t of[256];
} grouping;

unsigned glp1_element_width(unsigned element) {
    static const uint8_t WIDTHS[] = {0, 1, 1, 2, 2, 4, 2, 4, 1};
    return element <= XOR8 ? WIDTHS[element] : 0;
}

bool glp1_has_exponent(unsigned element) { return element == BF16 || element == F16 || element == F32; }

static values field_values(const glp1_lane *lane, const glp1_field *field) {
    unsigned width = glp1_element_width(field->element);
    size_t row = field->element == INT4 ? 2 * (size_t)field->length : field->length / width;
    values v = {lane->bytes + field->offset, lane->units, lane->stride, row, row * lane->units, field->element, width};
    if (field->length == lane->stride) {
        v.rows = 1;
        v.row_values = v.values;
    }
    return v;
}

GLP1_INLINE uint32_t exponent(uint32_t value, unsigned element) {
    if (element == BF16) return value >> 7 & 0xFF;
    if (element == F16) return value >> 10 & 0x1F;
    return value >> 23 & 0xFF;
}

static glp1_status read_cuts(glp1_decoder *d, unsigned most, grouping *g) {
    uint8_t count, cut, before = 0;
    TRY(glp1_read_byte(d, &count));
    MUST(count >= 1 && count <= most);
    memset(g->of, 0, sizeof g->of);
    for (unsigned i = 0; i < count; i++) {
        TRY(glp1_read_byte(d, &cut));
        MUST(i == 0 || cut > before);
        before = cut;
        memset(g->of + cut, (int)i + 1, 256 - (size_t)cut);
    }
    g->groups = count + 1u;
    return GLP1_OK;
}

/* Decodes the runs of all groups into contiguous memory. `next` receives the start of each group. */
static glp1_status decode_group_runs(glp1_decoder *d, const size_t *sizes, unsigned groups, unsigned width, uint8_t **next) {
    size_t total = 0;
    for (unsigned g = 0; g < groups; g++) total += sizes[g];
    uint8_t *at;
    TRY(glp1_allocate(d, total * width, &at));
    for (unsigned g = 0; g < groups; g++) {
        TRY(glp1_decode_run(d, at, sizes[g], width, 0));
        next[g] = at;
        at += sizes[g] * width;
    }
    return GLP1_OK;
}

/* Grouping 1. */
GLP1_INLINE glp1_status read_by_exponent(glp1_decoder *d, const values *v, uint8_t *symbols, unsigned element, unsigned width) {
    grouping g;
    TRY(read_cuts(d, GLP1_MAX_CUTS, &g));
    size_t sizes[GLP1_MAX_CUTS + 1] = {0}, i = 0;
    for (size_t row = 0; row < v->rows; row++)
        for (size_t j = 0; j < v->row_values; j++)
            sizes[g.of[exponent(glp1_load(v->first + row * v->row_bytes, j, width), element)]]++;
    uint8_t *next[GLP1_MAX_CUTS + 1];
    TRY(decode_group_runs(d, sizes, g.groups, width, next));
    for (size_t row = 0; row < v->rows; row++)
        for (size_t j = 0; j < v->row_values; j++) {
            uint8_t **from = &next[g.of[exponent(glp1_load(v->first + row * v->row_bytes, j, width), element)]];
            memcpy(symbols + width * i++, *from, width);
            *from += width;
        }
    return GLP1_OK;
}

/* Grouping 2. */
static glp1_status read_by_leader(glp1_decoder *d, const glp1_lane *lane, const values *v, uint8_t *symbols) {
    uint8_t number;
    grouping g;
    TRY(glp1_read_byte(d, &number));
    MUST(number < lane->fields && lane->field[number].keys != NULL);
    TRY(read_cuts(d, GLP1_MAX_CUTS, &g));
    const uint8_t *keys = lane->field[number].keys;
    size_t sizes[GLP1_MAX_CUTS + 1] = {0}, each = v->values / lane->units;
    for (size_t unit = 0; unit < lane->units; unit++) sizes[g.of[keys[unit]]] += each;
    uint8_t *next[GLP1_MAX_CUTS + 1];
    TRY(decode_group_runs(d, sizes, g.groups, v->width, next));
    each *= v->width;
    for (size_t unit = 0; unit < lane->units; unit++) {
        uint8_t **from = &next[g.of[keys[unit]]];
        memcpy(symbols + unit * each, *from, each);
        *from += each;
    }
    return GLP1_OK;
}

/* Grouping 3: the tokens of each class. `tokens[class][k]` are those of the k-th values of its quads. */
typedef struct {
    const uint8_t *tokens[256][4];
    size_t quads_read[256]; /* quads of each class that are merged already */
} quad_tokens;

/* The class of the quad that begins at value `i` of `n` contiguous values. */
GLP1_INLINE unsigned quad_class(const uint8_t *first, size_t i, size_t n, const grouping *g, unsigned element, unsigned width) {
    unsigned class = 0;
    for (unsigned k = 0; k < 4 && i + k < n; k++)
        class |= (unsigned)g->of[exponent(glp1_load(first, i + k, width), element)] << 2 * k;
    return class;
}

/* Computes the class of each quad, and the number of quads per class. The last quad may be incomplete. */
GLP1_INLINE void classify_quads(const uint8_t *first, size_t n, const grouping *g, uint8_t *classes, size_t *counts,
                                unsigned element, unsigned width) {
    size_t whole = n / 4;
    for (size_t quad = 0; quad < whole; quad++)
        counts[classes[quad] = (uint8_t)quad_class(first, 4 * quad, SIZE_MAX, g, element, width)]++;
    if (n % 4) counts[classes[whole] = (uint8_t)quad_class(first, 4 * whole, n, g, element, width)]++;
}

/* Returns a field's values as a contiguous array, copied only if they are not contiguous. */
static glp1_status make_contiguous(glp1_decoder *d, const values *v, const uint8_t **first) {
    uint8_t *copy;
    size_t row = v->row_values * v->width;
    *first = v->first;
    if (v->rows == 1) return GLP1_OK;
    TRY(glp1_allocate(d, v->values * v->width, &copy));
    for (size_t i = 0; i < v->rows; i++) memcpy(copy + i * row, v->first + i * v->row_bytes, row);
    *first = copy;
    return GLP1_OK;
}

/* A group's run has the tokens of the quads' fourth values in this group, by class, then those of the third values, ... */
static glp1_status read_tokens(glp1_decoder *d, const grouping *g, const size_t *counts, quad_tokens *table) {
    size_t sizes[MAX_QUAD_CUTS + 1] = {0};
    uint8_t *next[MAX_QUAD_CUTS + 1];
    for (unsigned class = 0; class < 256; class++)
        for (unsigned k = 0; k < 4; k++) sizes[class >> 2 * k & 3] += counts[class];
    TRY(decode_group_runs(d, sizes, g->groups, 1, next));
    for (unsigned k = 4; k-- > 0;)
        for (unsigned class = 0; class < 256; class++) {
            unsigned group = class >> 2 * k & 3;
            if (group >= g->groups) continue; /* no quad has this class */
            table->tokens[class][k] = next[group];
            next[group] += counts[class];
        }
    memset(table->quads_read, 0, sizeof table->quads_read);
    return GLP1_OK;
}

/* Merges the tokens into the order of the values, quad by quad, including the filling of the last quad. */
static void merge_tokens(quad_tokens *table, const uint8_t *classes, size_t quads, uint8_t *tokens) {
    for (size_t quad = 0; quad < quads; quad++) {
        unsigned class = classes[quad];
        size_t at = table->quads_read[class]++;
        const uint8_t *const *class_tokens = table->tokens[class];
        uint8_t four[4] = {class_tokens[0][at], class_tokens[1][at], class_tokens[2][at], class_tokens[3][at]};
        memcpy(tokens + 4 * quad, four, 4);
    }
}

static glp1_status read_in_quads(glp1_decoder *d, const values *v, uint8_t *symbols) {
    grouping g;
    TRY(read_cuts(d, MAX_QUAD_CUTS, &g));
    size_t n = v->values, quads = (n + 3) / 4, counts[256] = {0};
    const uint8_t *first;
    uint8_t *classes, *tokens;
    quad_tokens table;
    TRY(make_contiguous(d, v, &first));
    TRY(glp1_allocate(d, quads, &classes));
    TRY(glp1_allocate(d, 4 * quads, &tokens));
    if (v->element == BF16) classify_quads(first, n, &g, classes, counts, BF16, 2);
    if (v->element == F16) classify_quads(first, n, &g, classes, counts, F16, 2);
    if (v->element == F32) classify_quads(first, n, &g, classes, counts, F32, 4);
    TRY(read_tokens(d, &g, counts, &table));
    merge_tokens(&table, classes, quads, tokens);
    return glp1_add_escapes(d, symbols, tokens, n, ESCAPE, v->width, 0);
}

static glp1_status read_symbols(glp1_decoder *d, const glp1_lane *lane, const values *v, uint8_t *symbols) {
    uint8_t grouping;
    TRY(glp1_read_byte(d, &grouping));
    if (grouping > BY_EXPONENT_IN_QUADS) return GLP1_PATCH_UNSUPPORTED;
    if (grouping == UNGROUPED) return glp1_decode_run(d, symbols, v->values, v->width, 0);
    if (grouping == BY_LEADER) return read_by_leader(d, lane, v, symbols);
    MUST(glp1_has_exponent(v->element));
    if (grouping == BY_EXPONENT_IN_QUADS) return read_in_quads(d, v, symbols);
    if (v->element == BF16) return read_by_exponent(d, v, symbols, BF16, 2);
    if (v->element == F16) return read_by_exponent(d, v, symbols, F16, 2);
    return read_by_exponent(d, v, symbols, F32, 4);
}

/* Key of each unit: the bit length of its largest symbol, at most 15; the OR of all symbols has the same bit length. */
GLP1_INLINE void compute_keys(const values *v, const uint8_t *symbols, size_t units, uint8_t *keys, unsigned width) {
    size_t each = v->values / units;
    for (size_t unit = 0; unit < units; unit++, symbols += each * width) {
        uint32_t bits = 0;
        uint8_t length = 0;
        for (size_t i = 0; i < each; i++) bits |= glp1_load(symbols, i, width);
        for (; bits && length < MAX_LEADER_KEY; bits >>= 1) length++;
        keys[unit] = length;
    }
}

/* new = old + (s >> 1 ^ -(s & 1)), wrapping. */
GLP1_INLINE void add_values(const values *v, const uint8_t *symbols, unsigned width) {
    for (size_t row = 0; row < v->rows; row++, symbols += v->row_values * width) {
        uint8_t *old = v->first + row * v->row_bytes;
        for (size_t j = 0; j < v->row_values; j++) {
            uint32_t s = glp1_load(symbols, j, width);
            glp1_store(old, j, width, glp1_load(old, j, width) + (s >> 1 ^ (0u - (s & 1))));
        }
    }
}

GLP1_INLINE unsigned add_nibble(unsigned old, unsigned s) { return (old + (s >> 1 ^ (0u - (s & 1)))) & 15; }

/* The same modulo 16, low nibble first. Eight symbols are tested at once, because most are 0. A symbol above 15 is invalid. */
static glp1_status add_nibbles(const values *v, const uint8_t *symbols) {
    uint64_t all = 0;
    for (size_t row = 0; row < v->rows; row++, symbols += v->row_values) {
        uint8_t *old = v->first + row * v->row_bytes;
        for (size_t from = 0; from < v->row_values; from += 8) {
            size_t left = v->row_values - from, size = left < 8 ? left : 8;
            uint64_t eight = 0;
            if (left < 8) memcpy(&eight, symbols + from, left);
            else memcpy(&eight, symbols + from, 8);
            if (eight == 0) continue;
            all |= eight;
            for (size_t i = from; i < from + size; i += 2) {
                uint8_t *both = old + i / 2;
                *both = (uint8_t)(add_nibble(*both, symbols[i]) | add_nibble(*both >> 4, symbols[i + 1]) << 4);
            }
        }
    }
    MUST((all & UINT64_C(0xF0F0F0F0F0F0F0F0)) == 0);
    return GLP1_OK;
}

static void xor_values(const values *v, const uint8_t *symbols) {
    for (size_t row = 0; row < v->rows; row++, symbols += v->row_values)
        for (size_t j = 0; j < v->row_values; j++) v->first[row * v->row_bytes + j] ^= symbols[j];
}

glp1_status glp1_decode_field(glp1_decoder *d, glp1_lane *lane, uint32_t number) {
    glp1_field *field = &lane->field[number];
    values v = field_values(lane, field);
    uint8_t *symbols;
    if (glp1_has_exponent(field->element) && lane->fields > 1) TRY(glp1_allocate(d, lane->units, &field->keys));
    uint8_t *keys = field->keys;
    field->keys = NULL; /* a field cannot lead itself */
    size_t mark = d->arena->used;
    TRY(glp1_allocate(d, v.values * v.width, &symbols));
    TRY(read_symbols(d, lane, &v, symbols));
    if (keys && v.width == 2) compute_keys(&v, symbols, lane->units, keys, 2);
    if (keys && v.width == 4) compute_keys(&v, symbols, lane->units, keys, 4);
    field->keys = keys;
    if (v.element == INT4) TRY(add_nibbles(&v, symbols));
    else if (v.element == XOR8) xor_values(&v, symbols);
    else if (v.width == 1) add_values(&v, symbols, 1);
    else if (v.width == 2) add_values(&v, symbols, 2);
    else add_values(&v, symbols, 4);
    d->arena->used = mark;
    return GLP1_OK;
}
