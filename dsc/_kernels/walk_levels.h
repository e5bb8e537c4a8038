/* The walk of `label-context`: a label map from coarse grids to fine ones, coded or decoded.
 *
 * `dsc._coding.context.coder` is the reference: what is coded, under which table, in which order. A
 * map is mostly calm, and a calm pixel that is like its nearest neighbour already has its label (a
 * new grid repeats the known pixel above and left, and both are in its window). So calm pixels are
 * bits of rows: they are counted, coded as runs, and looked up only where one is a surprise.
 *
 * labels.c and labels_avx2.c include this file, each for a function WALK_LEVELS of its own.
 */
#include "bits.h"
#include "walk.h"

#define MOST_TIMES 256 /* of an interval that is repeated */
#define COLUMN UINT64_C(0x0101010101010101) /* every eighth pixel */

/* ---- symbols */

static void append(Walk *walk, List *list, uint64_t item) {
    if (list->count == list->room) {
        int64_t room = list->room ? 2 * list->room : 1024;
        uint64_t *items = realloc(list->items, (size_t)room * sizeof *items);
        if (!items) {
            walk->failure = NO_MEMORY;
            return;
        }
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = item;
}

/* Adds what an interval takes so many times, or up to 0.0015 bits less each time. */
static inline void spend(Walk *walk, uint32_t size, int64_t times) {
    int power = last_bit(size);
    uint32_t place = (uint32_t)((uint64_t)size * LOGS >> power) - LOGS;
    walk->spent += (double)times * (double)((float)(ANS_BITS - power) - walk->logs[place]);
}

static void put_interval(Walk *walk, uint32_t left, uint32_t size, int64_t times) {
    if (walk->logs) spend(walk, size, times);
    for (; times > 0; times -= MOST_TIMES) {
        uint32_t more = (uint32_t)(times < MOST_TIMES ? times : MOST_TIMES) - 1;
        uint32_t pair[2] = {left | more << ANS_BITS, size};
        uint64_t item;
        memcpy(&item, pair, sizeof item);
        append(walk, &walk->intervals, item);
    }
}

/* Writes a symbol of at least 0 so many times; those beyond the table go on in `outside`. */
static void put(Walk *walk, const Table *table, int64_t symbol, int64_t times) {
    int64_t entry = symbol < table->n - 1 ? symbol : table->n - 1;
    put_interval(walk, table->bounds[entry], table->bounds[entry + 1] - table->bounds[entry], times);
    if (entry == table->n - 1)
        for (int64_t k = 0; k < times; k++) append(walk, &walk->outside, (uint64_t)symbol);
}

static void put_outside(Walk *walk) {
    const uint32_t each = ANS_ONE >> CHUNK_BITS;
    for (int64_t k = 0; k < walk->outside.count; k++) {
        uint64_t value = walk->outside.items[k] + (1 << (ESCAPE_BITS - 1));
        put_interval(walk, (uint32_t)(value >> CHUNK_BITS) * each, each, 1);
        put_interval(walk, (uint32_t)(value & ((1 << CHUNK_BITS) - 1)) * each, each, 1);
    }
    walk->outside.count = 0;
}

/* Reads an entry of a table; its last one means that the symbol is outside. */
static inline uint32_t get(AnsDecoder *decoder, const Table *table) {
    uint32_t entry = ans_find(table->bounds, table->n, ans_peek(decoder));
    ans_advance(decoder, table->bounds[entry], table->bounds[entry + 1] - table->bounds[entry]);
    return entry;
}

/* ---- the grid */

static inline int64_t place_of(const Walk *walk, int64_t y, int64_t x) {
    return (y + MARGIN) * walk->stride + x + MARGIN;
}

static inline uint64_t inside(const Walk *walk, int64_t word) {
    int64_t left = walk->width - word * WORD;
    return left >= WORD ? ~UINT64_C(0) : (UINT64_C(1) << left) - 1;
}

static void extend_row(Walk *walk, int64_t y) {
    uint16_t *row = walk->grid + place_of(walk, y, 0);
    for (int k = 1; k <= MARGIN; k++) {
        row[-k] = row[0];
        row[walk->width - 1 + k] = row[walk->width - 1];
    }
}

/* Repeats the first or last row in the margin. */
static void extend_rows(Walk *walk, int is_last) {
    uint16_t *row = walk->grid + (MARGIN + (is_last ? walk->height - 1 : 0)) * walk->stride;
    int64_t turn = is_last ? walk->stride : -walk->stride;
    for (int k = 1; k <= MARGIN; k++) memcpy(row + k * turn, row, (size_t)walk->stride * sizeof *row);
}

static inline void compare_word(Walk *walk, int64_t row, int64_t word) {
    const uint16_t *at = walk->grid + row * walk->stride + word * WORD;
    walk->differ[row * (walk->n_differ + 1) + word] =
        differ64(at, at + 1) | differ64(at, at + walk->stride);
}

static void compare_rows(Walk *walk, int64_t first, int64_t stop) {
    for (int64_t row = first; row < stop; row++)
        for (int64_t word = 0; word < walk->n_differ; word++) compare_word(walk, row, word);
}

/* Makes the grid of the next level, its new pixels filled from the known ones. */
static void refine(Walk *walk, int64_t height, int64_t width) {
    const uint16_t *coarse = walk->grid + place_of(walk, 0, 0);
    int64_t coarse_stride = walk->stride;
    uint16_t *grid = walk->other;
    walk->other = walk->grid;
    walk->grid = grid;
    walk->height = height;
    walk->width = width;
    walk->stride = width + 2 * MARGIN;
    walk->n_differ = words_of(walk->stride);
    walk->n_words = words_of(width);
    for (int64_t y = 0; y < height; y++) {
        uint16_t *row = walk->grid + place_of(walk, y, 0);
        const uint16_t *from = coarse + (y >> 1) * coarse_stride;
        if (y & 1) {
            memcpy(row, row - walk->stride, (size_t)width * sizeof *row);
        } else {
            for (int64_t x = 0; x < width / 2; x++) {
                uint32_t twice = from[x];
                twice |= twice << 16;
                memcpy(row + 2 * x, &twice, sizeof twice);
            }
            if (width & 1) row[width - 1] = from[width / 2];
        }
        extend_row(walk, y);
    }
    extend_rows(walk, 0);
    extend_rows(walk, 1);
    memset(walk->grid + (height + 2 * MARGIN) * walk->stride, 0, SPARE * sizeof *walk->grid);
    for (int64_t row = 0; row < height + 2 * MARGIN - 1; row++)
        walk->differ[row * (walk->n_differ + 1) + walk->n_differ] = 0;
    compare_rows(walk, 0, height + 2 * MARGIN - 1);
    memset(walk->missed, 0, (size_t)(height * walk->n_words) * sizeof *walk->missed);
}

/* Finds the pixels that the truth of this level changes. */
static void compare_truth(Walk *walk) {
    uint16_t row[WORD];
    for (int64_t y = 0; y < walk->height; y++)
        for (int64_t word = 0; word < walk->n_words; word++) {
            int64_t first = word * WORD, n = walk->width - first;
            const uint16_t *from = walk->truth + y * walk->step * walk->truth_stride + first * walk->step;
            const uint16_t *own = walk->grid + place_of(walk, y, first);
            if (n > WORD) n = WORD;
            for (int64_t k = 0; k < n; k++) row[k] = from[k * walk->step];
            for (int64_t k = n; k < WORD; k++) row[k] = 0;
            walk->wrong[y * walk->n_words + word] = differ64(row, own) & inside(walk, word);
        }
}

static inline uint16_t truth_at(const Walk *walk, int64_t y, int64_t x) {
    return walk->truth[y * walk->step * walk->truth_stride + x * walk->step];
}

/* ---- calm pixels */

/* Finds for the rows of a phase where its windows hold more than one label. */
static void find_calm(Walk *walk, int64_t y, uint64_t *row) {
    const int *radii = walk->model->radii[walk->phase];
    int64_t n = walk->n_differ, line = n + 1;
    const uint64_t *middle = walk->differ + (y + MARGIN) * line;
    int reached = 0;
    memset(row, 0, (size_t)line * sizeof *row);
    uint64_t *wide = row + line;
    for (int c = 0; c < CALM; c++) {
        int radius = radii[c];
        for (int k = reached; k < radius; k++)
            for (int64_t w = 0; w < n; w++)
                row[w] |= middle[-(k + 1) * line + w] | middle[k * line + w];
        reached = radius;
        memcpy(wide, row, (size_t)line * sizeof *row);
        for (int size = 1; size < 2 * radius;) { /* the union of shifted windows is a wider one */
            int shift = size < 2 * radius - size ? size : 2 * radius - size;
            for (int64_t w = 0; w < n; w++) wide[w] |= wide[w] >> shift | wide[w + 1] << (WORD - shift);
            size += shift;
        }
        uint64_t *out = walk->calm[c] + y * walk->n_words;
        int shift = MARGIN - radius;
        for (int64_t w = 0; w < walk->n_words; w++)
            out[w] = wide[w] >> shift | wide[w + 1] << (WORD - shift);
    }
}

/* Goes through the words of a phase's pixels, in the order of coding. */
typedef struct {
    int64_t y, word;
    int number;
    uint64_t lattice;
} Cursor;

static inline int start(const Walk *walk, Cursor *at, int number) {
    for (; number < walk->model->n_places[walk->phase]; number++) {
        const uint8_t *place = walk->model->places[walk->phase][number];
        if (place[0] < walk->height && place[1] < walk->width) {
            *at = (Cursor){place[0], 0, number, COLUMN << place[1]};
            return 1;
        }
    }
    return 0;
}

static inline int next(const Walk *walk, Cursor *at) {
    if (++at->word < walk->n_words) return 1;
    at->word = 0;
    at->y += CELL;
    return at->y < walk->height || start(walk, at, at->number + 1);
}

/* Returns the pixels of a class: 0, busy; 1 to CALM, calm. */
static inline uint64_t class_bits(const Walk *walk, const Cursor *at, int class) {
    int64_t w = at->y * walk->n_words + at->word;
    uint64_t bits = at->lattice & inside(walk, at->word);
    if (class > 0) bits &= ~walk->calm[class - 1][w];
    if (class < CALM) bits &= walk->calm[class][w];
    return bits;
}

static void set_missed(Walk *walk, const Cursor *at, uint64_t bits) {
    walk->missed[at->y * walk->n_words + at->word] |= bits;
    walk->any_missed = 1;
}

/* Marks the pixels of a class that have these numbers in the order of coding, ascending. */
static void mark_missed(Walk *walk, int class, const uint32_t *numbers, int64_t n) {
    Cursor at;
    int64_t passed = 0, k = 0;
    if (!n || !start(walk, &at, 0)) return;
    do {
        uint64_t bits = class_bits(walk, &at, class);
        int64_t found = count_bits(bits);
        for (; k < n && numbers[k] < passed + found; k++) {
            uint64_t left = bits;
            for (int64_t skip = numbers[k] - passed; skip > 0; skip--) left &= left - 1;
            set_missed(walk, &at, left & -left);
        }
        passed += found;
    } while (k < n && next(walk, &at));
}

static void write_calm(Walk *walk, int class, const Table *table) {
    Cursor at;
    int64_t same = 0;
    if (!start(walk, &at, 0)) return;
    do {
        uint64_t bits = class_bits(walk, &at, class);
        uint64_t wrong = bits & walk->wrong[at.y * walk->n_words + at.word];
        if (wrong) set_missed(walk, &at, wrong);
        for (; wrong; wrong &= wrong - 1) {
            uint64_t before = bits & ((wrong & -wrong) - 1);
            put(walk, table, 1, same + count_bits(before));
            put(walk, table, 0, 1);
            bits &= ~(before | (wrong & -wrong));
            same = 0;
        }
        same += count_bits(bits);
    } while (next(walk, &at));
    put(walk, table, 1, same);
}

static int64_t count_class(const Walk *walk, int class) {
    Cursor at;
    int64_t found = 0;
    if (start(walk, &at, 0)) do
            found += count_bits(class_bits(walk, &at, class));
        while (next(walk, &at));
    return found;
}

/* Reads as many symbols as pass for "yes", at most n; returns how many. */
static int64_t read_run(AnsDecoder *shared, uint32_t left, uint32_t size, int64_t n) {
    AnsDecoder coder = *shared;
    int64_t k = 0;
    for (; k < n && ans_peek(&coder) - left < size; k++) ans_advance(&coder, left, size);
    *shared = coder;
    return k;
}

/* Reads the calm pixels of a class; those that are outside go to `outside`, by class and number. */
static void read_calm(Walk *walk, int class, const Table *table) {
    int64_t n = count_class(walk, class), n_missed = 0;
    uint32_t left = table->bounds[1], size = table->bounds[2] - left;
    if (table->n == 2) size = 0; /* then entry 1 is the escape */
    for (int64_t k = 0; k < n; k++) {
        k += read_run(walk->decoder, left, size, n - k);
        if (k == n) break;
        uint32_t entry = get(walk->decoder, table);
        if (entry == 0)
            walk->places[n_missed++] = (uint32_t)k;
        else if (entry == table->n - 1)
            append(walk, &walk->outside, (uint64_t)class << 32 | (uint64_t)k);
        else if (entry > 1)
            walk->failure = NEITHER;
    }
    mark_missed(walk, class, walk->places, n_missed);
}

/* Reads the decisions on calm pixels that are outside their tables, which no encoder writes. Those
 * of a class lie together and ascend: they are marked in one pass, however many a stream has. */
static void read_calm_outside(Walk *walk) {
    int64_t n_missed = 0;
    int class = 1;
    for (int64_t k = 0; k < walk->outside.count; k++) {
        int64_t value = ans_escape(walk->decoder);
        int own = (int)(walk->outside.items[k] >> 32);
        if (own != class) {
            mark_missed(walk, class, walk->places, n_missed);
            class = own;
            n_missed = 0;
        }
        if (value < 0 || value > 1) walk->failure = NEITHER;
        if (value == 0) walk->places[n_missed++] = (uint32_t)walk->outside.items[k];
    }
    mark_missed(walk, class, walk->places, n_missed);
    walk->outside.count = 0;
}

/* Codes whether the pixels without a boundary near them are like the nearest neighbour. */
static void code_calm(Walk *walk) {
    const Table *tables = walk->model->calm + (walk->phase * LEVELS + walk->level) * CALM;
    for (int class = 1; class <= CALM; class++) {
        if (walk->decoder)
            read_calm(walk, class, tables + class - 1);
        else
            write_calm(walk, class, tables + class - 1);
    }
    if (walk->decoder)
        read_calm_outside(walk);
    else
        put_outside(walk);
}

/* ---- busy pixels */

/* Finds the tables of a pattern: remembered, or by the network. */
static void find_tables(Walk *walk, Pattern pattern, uint8_t *index) {
    uint64_t first = pattern.first | (uint64_t)(walk->phase * LEVELS + walk->level) << NEIGHBOURS;
    uint64_t second = pattern.second | (uint64_t)pattern.third << NEIGHBOURS;
    uint64_t hash = (first ^ (second << 31 | second >> 33)) * UINT64_C(0x9E3779B97F4A7C15);
    Known *known = walk->memo + (hash >> 40) % MEMO;
    if (known->first != first || known->second != second) {
        *known = (Known){first, second, {0}};
        label_logits(walk->model, walk->phase, walk->level, pattern, known->index);
    }
    memcpy(index, known->index, DECISIONS);
}

static void look_around(Walk *walk, const int32_t *moves, Busy *pixel) {
    const uint16_t *at = walk->grid + pixel->place;
    uint16_t around[48];
    const uint64_t all = (UINT64_C(1) << NEIGHBOURS) - 1;
    for (int k = 0; k < NEIGHBOURS; k += 8) {
        const int32_t *m = moves + k;
        around[k] = at[m[0]];
        around[k + 1] = at[m[1]];
        around[k + 2] = at[m[2]];
        around[k + 3] = at[m[3]];
        around[k + 4] = at[m[4]];
        around[k + 5] = at[m[5]];
        around[k + 6] = at[m[6]];
        around[k + 7] = at[m[7]];
    }
    for (int k = NEIGHBOURS; k < 48; k++) around[k] = NO_LABEL;
    Pattern pattern = {same48(around, around[0]) & all, 0, 0};
    uint64_t other = ~pattern.first & all;
    pixel->candidates[0] = around[0];
    pixel->candidates[1] = pixel->candidates[2] = NO_LABEL;
    if (other) {
        pixel->candidates[1] = around[first_bit(other)];
        pattern.second = same48(around, pixel->candidates[1]) & all;
        other &= ~pattern.second;
    }
    if (other) {
        pixel->candidates[2] = around[first_bit(other)];
        pattern.third = (uint32_t)same48(around, pixel->candidates[2]) & ((1 << NEAR) - 1);
    }
    find_tables(walk, pattern, pixel->index);
}

static void find_busy(Walk *walk) {
    int32_t moves[NEIGHBOURS];
    Cursor at;
    walk->n_busy = 0;
    for (int k = 0; k < NEIGHBOURS; k++) {
        const int8_t *move = walk->model->moves[walk->phase][k];
        moves[k] = (int32_t)(move[0] * walk->stride + move[1]);
    }
    if (!start(walk, &at, 0)) return;
    do {
        for (uint64_t bits = class_bits(walk, &at, 0); bits; bits &= bits - 1) {
            int64_t x = at.word * WORD + first_bit(bits);
            Busy *pixel = walk->busy + walk->n_busy++;
            pixel->place = (uint32_t)place_of(walk, at.y, x);
            pixel->found = 0;
            if (walk->truth) pixel->label = truth_at(walk, at.y, x);
            look_around(walk, moves, pixel);
        }
    } while (next(walk, &at));
}

/* Writes the busy pixels that are left and have a candidate to `order`, grouped by table. */
static void group_busy(Walk *walk, int decision, int64_t ends[LOGITS]) {
    int64_t total = 0, next_of[LOGITS];
    memset(ends, 0, LOGITS * sizeof *ends);
    for (int64_t k = 0; k < walk->n_busy; k++) {
        const Busy *pixel = walk->busy + k;
        ends[pixel->index[decision]] += !pixel->found && pixel->candidates[decision] != NO_LABEL;
    }
    for (int t = 0; t < LOGITS; t++) {
        next_of[t] = total;
        ends[t] = total += ends[t];
    }
    for (int64_t k = 0; k < walk->n_busy; k++) {
        const Busy *pixel = walk->busy + k;
        if (!pixel->found && pixel->candidates[decision] != NO_LABEL)
            walk->order[next_of[pixel->index[decision]]++] = (uint32_t)k;
    }
}

static inline void settle(Busy *pixel, int decision, int is_like) {
    pixel->found = (uint8_t)is_like;
    if (is_like) pixel->label = pixel->candidates[decision];
}

static void read_group(Walk *walk, int decision, const Table *table, int64_t first, int64_t stop) {
    AnsDecoder coder = *walk->decoder;
    uint32_t yes = table->bounds[1], escape = table->bounds[table->n - 1];
    uint32_t no_size = yes, yes_size = table->bounds[2] - yes;
    for (int64_t k = first; k < stop; k++) {
        Busy *pixel = walk->busy + walk->order[k];
        uint32_t quantile = ans_peek(&coder);
        int is_like = quantile >= yes;
        if (quantile >= escape || (is_like && quantile - yes >= yes_size)) { /* no encoder's */
            uint32_t entry = get(&coder, table);
            if (entry == table->n - 1)
                append(walk, &walk->outside, walk->order[k]);
            else
                walk->failure = NEITHER;
            continue;
        }
        ans_advance(&coder, is_like ? yes : 0, is_like ? yes_size : no_size);
        settle(pixel, decision, is_like);
    }
    *walk->decoder = coder;
}

static void write_group(Walk *walk, int decision, const Table *table, int64_t first, int64_t stop) {
    for (int64_t k = first; k < stop; k++) {
        Busy *pixel = walk->busy + walk->order[k];
        int is_like = pixel->label == pixel->candidates[decision];
        put(walk, table, is_like, 1);
        pixel->found = (uint8_t)is_like;
    }
}

/* Codes which of its candidates each busy pixel is like, if any. */
static void code_busy(Walk *walk) {
    for (int decision = 0; decision < DECISIONS; decision++) {
        int64_t ends[LOGITS];
        group_busy(walk, decision, ends);
        for (int t = 0; t < LOGITS; t++) {
            const Table *table = &walk->model->decisions[decision][t];
            int64_t first = t ? ends[t - 1] : 0;
            if (first == ends[t]) continue;
            if (walk->decoder)
                read_group(walk, decision, table, first, ends[t]);
            else
                write_group(walk, decision, table, first, ends[t]);
        }
        if (!walk->decoder) put_outside(walk);
        for (int64_t k = 0; k < walk->outside.count; k++) {
            int64_t value = ans_escape(walk->decoder);
            if (value < 0 || value > 1) walk->failure = NEITHER;
            settle(walk->busy + walk->outside.items[k], decision, value == 1);
        }
        walk->outside.count = 0;
    }
    for (int64_t k = 0; k < walk->n_busy; k++)
        if (!walk->busy[k].found) {
            int64_t place = walk->busy[k].place, y = place / walk->stride - MARGIN;
            int64_t x = place % walk->stride - MARGIN;
            walk->missed[y * walk->n_words + x / WORD] |= UINT64_C(1) << x % WORD;
            walk->any_missed = 1;
        }
}

/* ---- labels that no candidate has */

static int by_count(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Ranks the labels by how often they occur in the grid, the smaller label first where two do. */
static void rank_labels(Walk *walk) {
    int64_t n = walk->n_known;
    for (int64_t k = 0; k < n; k++) walk->counts[k] = 0;
    for (int64_t y = 0; y < walk->height; y++) {
        const uint16_t *row = walk->grid + place_of(walk, y, 0);
        int64_t from = 0;
        for (int64_t word = 0; word < walk->n_words; word++) {
            uint64_t ends = differ64(row + word * WORD, row + word * WORD + 1) & inside(walk, word);
            for (; ends; ends &= ends - 1) {
                int64_t stop = word * WORD + first_bit(ends) + 1;
                walk->counts[row[stop - 1]] += (uint64_t)(stop - from);
                from = stop;
            }
        }
        if (from < walk->width) walk->counts[row[from]] += (uint64_t)(walk->width - from);
    }
    for (int64_t k = 0; k < n; k++) walk->counts[k] = (UINT32_MAX - walk->counts[k]) << 16 | (uint64_t)k;
    qsort(walk->counts, (size_t)n, sizeof *walk->counts, by_count);
    for (int64_t k = 0; k < n; k++) {
        walk->by_rank[k] = (uint32_t)(walk->counts[k] & 0xFFFF);
        walk->rank[walk->by_rank[k]] = (uint32_t)k;
    }
}

/* Writes the ranks of the candidates that are there, ascending; the others are beyond all ranks. */
static void passed_ranks(const Walk *walk, const uint16_t *candidates, int64_t *passed) {
    for (int k = 0; k < DECISIONS; k++) {
        int64_t rank = candidates[k] == NO_LABEL ? INT64_MAX : walk->rank[candidates[k]];
        int at = k;
        for (; at > 0 && passed[at - 1] > rank; at--) passed[at] = passed[at - 1];
        passed[at] = rank;
    }
}

static int64_t escape_symbol(Walk *walk, const uint16_t *candidates, int64_t label, int64_t met) {
    int64_t passed[DECISIONS];
    if (label == walk->n_known + met) return 0;
    if (label > walk->n_known + met) {
        walk->failure = NOT_IN_ORDER;
        return 0;
    }
    if (label >= walk->n_known) return met - (label - walk->n_known);
    passed_ranks(walk, candidates, passed);
    int64_t rank = walk->rank[label], symbol = 1 + met + rank;
    for (int k = 0; k < DECISIONS; k++) symbol -= passed[k] < rank;
    return symbol;
}

static int64_t escape_label(Walk *walk, const uint16_t *candidates, int64_t symbol, int64_t met) {
    int64_t passed[DECISIONS], rank = symbol - met - 1;
    if (symbol == 0) return walk->n_known + met;
    if (symbol > 0 && rank < 0) return walk->n_known + met - symbol;
    passed_ranks(walk, candidates, passed);
    for (int k = 0; k < DECISIONS; k++) rank += rank >= passed[k];
    if (symbol < 0 || rank >= walk->n_known) {
        walk->failure = NO_SUCH_LABEL;
        return 0;
    }
    return walk->by_rank[rank];
}

static const uint16_t *candidates_of(const Walk *walk, const Missed *item, uint16_t *own) {
    const int8_t *move = walk->model->moves[walk->phase][0];
    if (item->busy >= 0) return walk->busy[item->busy].candidates;
    own[0] = walk->grid[(int64_t)item->place + move[0] * walk->stride + move[1]];
    own[1] = own[2] = NO_LABEL;
    return own;
}

/* Lists the pixels that are missed, in the order of coding. */
static int gather_missed(Walk *walk) {
    Cursor at;
    int64_t n = 0, busy = 0;
    if (start(walk, &at, 0)) do
            n += count_bits(walk->missed[at.y * walk->n_words + at.word] & at.lattice);
        while (next(walk, &at));
    walk->n_items = 0;
    walk->items = malloc((size_t)n * sizeof *walk->items);
    if (!walk->items) {
        walk->failure = NO_MEMORY;
        return 0;
    }
    if (!start(walk, &at, 0)) return 0;
    do {
        int64_t w = at.y * walk->n_words + at.word;
        uint64_t bits = walk->missed[w] & at.lattice, is_busy = walk->calm[0][w];
        for (; bits; bits &= bits - 1) {
            Missed *item = walk->items + walk->n_items++;
            item->place = (uint32_t)place_of(walk, at.y, at.word * WORD + first_bit(bits));
            item->busy = -1;
            if (bits & -bits & is_busy) {
                while (walk->busy[busy].place != item->place) busy++;
                item->busy = busy;
            }
        }
        walk->missed[w] &= ~at.lattice;
    } while (next(walk, &at));
    return 1;
}

static const Table *escape_table(const Walk *walk) {
    int coarse = walk->level < LEVELS - 2 ? walk->level / 2 : LEVEL_CLASSES - 1;
    if (coarse > LEVEL_CLASSES - 1) coarse = LEVEL_CLASSES - 1;
    int64_t n = walk->n_known < BUCKETS ? walk->n_known : BUCKETS;
    return walk->model->escapes + coarse * BUCKETS + n - 1;
}

static int64_t write_missed(Walk *walk) {
    int64_t met = 0;
    for (int64_t k = 0; k < walk->n_items && !walk->failure; k++) {
        Missed *item = walk->items + k;
        uint16_t own[DECISIONS];
        int64_t y = item->place / walk->stride - MARGIN, x = item->place % walk->stride - MARGIN;
        item->label = truth_at(walk, y, x);
        int64_t symbol = escape_symbol(walk, candidates_of(walk, item, own), item->label, met);
        met += symbol == 0;
        put(walk, escape_table(walk), symbol, 1);
    }
    put_outside(walk);
    return met;
}

static int64_t read_missed(Walk *walk) {
    const Table *table = escape_table(walk);
    int64_t met = 0, n = walk->n_items;
    Missed *items = walk->items;
    for (int64_t k = 0; k < n; k++) items[k].label = get(walk->decoder, table); /* symbols for now */
    for (int64_t k = 0; k < n; k++)
        if (items[k].label == table->n - 1) items[k].label = ans_escape(walk->decoder);
    for (int64_t k = 0; k < n && !walk->failure; k++) {
        uint16_t own[DECISIONS];
        int64_t symbol = items[k].label;
        items[k].label = escape_label(walk, candidates_of(walk, items + k, own), symbol, met);
        met += symbol == 0;
    }
    return met;
}

/* Codes the labels of the pixels that are missed. */
static void code_missed(Walk *walk) {
    if (!gather_missed(walk)) return;
    rank_labels(walk);
    walk->n_known += walk->decoder ? read_missed(walk) : write_missed(walk);
    if (walk->n_known > MOST_LABELS) walk->failure = TOO_MANY;
    for (int64_t k = 0; k < walk->n_items; k++)
        if (walk->items[k].busy >= 0)
            walk->busy[walk->items[k].busy].label = (uint16_t)walk->items[k].label;
}

/* ---- the walk */

static inline void compare_pixel(Walk *walk, int64_t row, int64_t column) {
    const uint16_t *at = walk->grid + row * walk->stride + column;
    uint64_t *word = walk->differ + row * (walk->n_differ + 1) + column / WORD;
    uint64_t bit = UINT64_C(1) << column % WORD;
    *word = at[0] != at[1] || at[0] != at[walk->stride] ? *word | bit : *word & ~bit;
}

/* Brings the margin and `differ` up to date after n pixels have changed. */
static void update(Walk *walk, const uint32_t *places, int64_t n) {
    int64_t last_row = MARGIN + walk->height - 1, last_column = MARGIN + walk->width - 1;
    int is_first = 0, is_last = 0;
    for (int64_t k = 0; k < n; k++) {
        int64_t row = places[k] / walk->stride, column = places[k] % walk->stride;
        if (column == MARGIN || column == last_column) extend_row(walk, row - MARGIN);
        is_first |= row == MARGIN;
        is_last |= row == last_row;
    }
    if (is_first) extend_rows(walk, 0);
    if (is_last) extend_rows(walk, 1);
    for (int64_t k = 0; k < n; k++) {
        int64_t row = places[k] / walk->stride, column = places[k] % walk->stride;
        if (column == MARGIN || column == last_column) {
            for (int64_t r = row - 1; r <= row; r++)
                for (int64_t w = (column - MARGIN) / WORD; w <= (column + MARGIN - 1) / WORD; w++)
                    compare_word(walk, r, w);
        } else {
            compare_pixel(walk, row, column);
            compare_pixel(walk, row, column - 1);
            compare_pixel(walk, row - 1, column);
        }
    }
    if (is_first) compare_rows(walk, 0, MARGIN);
    if (is_last) compare_rows(walk, last_row, last_row + MARGIN);
}

/* Writes the labels of the phase to the grid. */
static void settle_phase(Walk *walk) {
    int64_t n = 0;
    for (int64_t k = 0; k < walk->n_busy; k++) {
        const Busy *pixel = walk->busy + k;
        walk->places[n] = pixel->place;
        n += walk->grid[pixel->place] != pixel->label;
        walk->grid[pixel->place] = pixel->label;
    }
    for (int64_t k = 0; k < walk->n_items; k++) {
        if (walk->items[k].busy >= 0) continue;
        walk->grid[walk->items[k].place] = (uint16_t)walk->items[k].label;
        walk->places[n++] = walk->items[k].place;
    }
    update(walk, walk->places, n);
}

static void code_phase(Walk *walk) {
    Cursor at;
    int rows[CELL] = {0};
    if (!start(walk, &at, 0)) return;
    for (int k = 0; k < walk->model->n_places[walk->phase]; k++)
        rows[walk->model->places[walk->phase][k][0]] = 1;
    for (int64_t y = 0; y < walk->height; y++)
        if (rows[y % CELL]) find_calm(walk, y, walk->scratch);
    walk->any_missed = 0;
    walk->n_items = 0;
    code_calm(walk);
    find_busy(walk);
    code_busy(walk);
    if (walk->any_missed && !walk->failure) code_missed(walk);
    if (!walk->failure) settle_phase(walk);
    free(walk->items);
    walk->items = NULL;
}

void WALK_LEVELS(Walk *walk, int64_t height, int64_t width) {
    for (int64_t step = walk->step / 2; step >= walk->finest && !walk->failure; step /= 2) {
        walk->step = step;
        walk->level = 0;
        while (walk->level < LEVELS - 1 && step >> (walk->level + 1)) walk->level++;
        refine(walk, (height + step - 1) / step, (width + step - 1) / step);
        if (walk->truth) compare_truth(walk);
        for (walk->phase = 0; walk->phase < PHASES && !walk->failure; walk->phase++) {
            code_phase(walk);
            if (walk->logs && walk->spent > walk->most && !walk->failure) walk->failure = TOO_LONG;
        }
    }
}
