// Attention over the cache of keys and values, for float32 on a CPU: every row is one new position of a
// slot, which is rotated, stored and attends to all that its slot holds up to itself. A decode step has
// one row for each slot, a prefill many rows for one. Where several slots begin with the same positions,
// these are read from one of them.
#include "kernels.h"

#include <vector>

namespace vigorl {

namespace {

// Columns of `rows`: slot (-1: idle), its new position, row of its rotary factors, slot to read the
// first `shared` positions from.
enum Column { kSlot, kPosition, kRotary, kSource, kShared, kNumColumns };

struct Cache {
  float* keys;    // [S * KV, P / 16, D, 16]
  float* values;  // [S * KV, P, D]
  int64_t heads, size, capacity;
};

// scores[g][p] = q[g] . key[p] for `Blocks` times sixteen positions from `position` on.
template <int Queries, int Blocks>
VIGORL_INLINE void score(const float* q, const float* keys, float* scores, int64_t position,
                         const Cache& cache) {
  Floats sums[Queries][Blocks] = {};
  const int64_t block = cache.size * kLanes;
  const float* from = keys + position * cache.size;
  for (int64_t d = 0; d < cache.size; d++, from += kLanes) {
#pragma GCC unroll 4
    for (int b = 0; b < Blocks; b++) {
      Floats key;
      load(key, from + b * block);
#pragma GCC unroll 4
      for (int g = 0; g < Queries; g++) sums[g][b] += q[g * cache.size + d] * key;
    }
  }
#pragma GCC unroll 4
  for (int g = 0; g < Queries; g++) {
#pragma GCC unroll 4
    for (int b = 0; b < Blocks; b++)
      store(scores + g * cache.capacity + position + b * kLanes, sums[g][b]);
  }
}

template <int Queries>
VIGORL_INLINE void score_range(const float* q, const float* keys, float* scores, int64_t from, int64_t to,
                               const Cache& cache) {
  int64_t position = from;
  for (; position + 3 * kLanes < to; position += 4 * kLanes)
    score<Queries, 4>(q, keys, scores, position, cache);
  // Side by side, what is left: one after another they would wait for memory each.
  const int64_t rest = (to - position + kLanes - 1) / kLanes;
  if (rest >= 3) {
    score<Queries, 3>(q, keys, scores, position, cache);
  } else if (rest == 2) {
    score<Queries, 2>(q, keys, scores, position, cache);
  } else if (rest == 1) {
    score<Queries, 1>(q, keys, scores, position, cache);
  }
}

// sums[g][i] += weights[g][p] * value[p][d + i] for a range of positions and 2 * 16 of D.
template <int Queries>
VIGORL_INLINE void mix(const float* weights, const float* values, Floats (&sums)[Queries][2], int64_t d,
                       int64_t from, int64_t to, const Cache& cache) {
  const int64_t rest = cache.size - d;
  for (int64_t p = from; p < to; p++) {
    Floats low, high{};
    load(low, values + p * cache.size + d, rest);
    if (rest > kLanes) load(high, values + p * cache.size + d + kLanes, rest - kLanes);
#pragma GCC unroll 4
    for (int g = 0; g < Queries; g++) {
      const float weight = weights[g * cache.capacity + p];
      sums[g][0] += weight * low;
      sums[g][1] += weight * high;
    }
  }
}

// The softmax of `length` scores without its denominator, which is returned.
VIGORL_INLINE float exponentials(float* scores, int64_t length, float scale) {
  const int64_t whole = (length + kLanes - 1) / kLanes * kLanes;
  for (int64_t i = length; i < whole; i++) scores[i] = -__builtin_inff();
  Floats highest = Floats{} - __builtin_inff(), x;
  for (int64_t i = 0; i < whole; i += kLanes) {
    load(x, scores + i);
    highest = x > highest ? x : highest;
  }
  const float top = maximum(highest);
  Floats total{};
  for (int64_t i = 0; i < whole; i += kLanes) {
    load(x, scores + i);
    x = (x - top) * scale;
    exponential(x);
    total += x;
    store(scores + i, x);
  }
  return sum(total);
}

// `Queries` query heads of one slot and key-value head.
template <int Queries>
VIGORL_INLINE void attend_some(const float* q, const float* source_keys, const float* keys,
                               const float* source_values, const float* values, float* to, float* scores,
                               int64_t shared, int64_t length, float scale, const Cache& cache) {
  score_range<Queries>(q, source_keys, scores, 0, shared, cache);
  score_range<Queries>(q, keys, scores, shared, length, cache);
  float totals[Queries];
  for (int g = 0; g < Queries; g++)
    totals[g] = exponentials(scores + g * cache.capacity, length, scale);
  for (int64_t d = 0; d < cache.size; d += 2 * kLanes) {
    Floats sums[Queries][2] = {};
    mix<Queries>(scores, source_values, sums, d, 0, shared, cache);
    mix<Queries>(scores, values, sums, d, shared, length, cache);
    for (int g = 0; g < Queries; g++) {
      float* head = to + g * cache.size + d;
      store(head, sums[g][0] / totals[g], cache.size - d);
      if (cache.size - d > kLanes) store(head + kLanes, sums[g][1] / totals[g], cache.size - d - kLanes);
    }
  }
}

// Rotates the query heads and the key of row `x`, for one key-value head, and stores key and value.
VIGORL_KERNEL void store_head(float* x, const float* factors, const int64_t* row, int64_t head,
                              int64_t queries, const Cache& cache) {
  const int64_t size = cache.size, position = row[kPosition];
  const float* factor = factors + row[kRotary] * size;
  for (int64_t i = 0; i <= queries; i++) rotate(x + i * size, factor, x + i * size, size, 1);
  const int64_t start = (row[kSlot] * cache.heads + head) * size * cache.capacity;
  float* keys = cache.keys + start + position / kLanes * kLanes * size + position % kLanes;
  for (int64_t d = 0; d < size; d++) keys[d * kLanes] = x[queries * size + d];
  std::copy_n(x + (queries + 1) * size, size, cache.values + start + position * size);
}

// One row and key-value head: `x` holds its query heads.
VIGORL_KERNEL void attend_head(const float* x, const int64_t* row, int64_t head, int64_t queries, float* to,
                               float* scores, float scale, const Cache& cache) {
  const int64_t size = cache.size, position = row[kPosition];
  const int64_t own = (row[kSlot] * cache.heads + head) * size * cache.capacity;
  const int64_t source = (row[kSource] * cache.heads + head) * size * cache.capacity;
  // Whole blocks of positions only: the rest is in the slot itself, too.
  const int64_t shared = std::min(row[kShared], position) / kLanes * kLanes;
  auto some = [&](auto count, int64_t first) __attribute__((always_inline)) {
    attend_some<decltype(count)::value>(x + first * size, cache.keys + source, cache.keys + own,
                                        cache.values + source, cache.values + own, to + first * size,
                                        scores, shared, position + 1, scale, cache);
  };
  int64_t first = 0;
  for (; first + 4 <= queries; first += 4) some(std::integral_constant<int, 4>(), first);
  if (first + 2 <= queries) {
    some(std::integral_constant<int, 2>(), first);
    first += 2;
  }
  if (first < queries) some(std::integral_constant<int, 1>(), first);
}

at::Tensor attend_cached(at::Tensor qkv, const at::Tensor& factors_complex, at::Tensor keys,
                         at::Tensor values, const at::Tensor& rows, int64_t num_heads) {
  const at::Tensor factors = at::view_as_real(factors_complex);
  for (const at::Tensor& part : {qkv, factors, keys, values}) {
    TORCH_CHECK(part.device().is_cpu() && part.scalar_type() == at::kFloat && part.is_contiguous(),
                "qkv, factors, keys and values must be contiguous float32 on the CPU");
  }
  TORCH_CHECK(rows.device().is_cpu() && rows.scalar_type() == at::kLong && rows.is_contiguous() && rows.dim() == 2 &&
                  rows.size(1) == kNumColumns,
              "rows must be int64 [N, ", static_cast<int>(kNumColumns), "]");
  TORCH_CHECK(keys.dim() == 5 && keys.size(4) == kLanes && values.dim() == 4,
              "the cache must be keys [S, KV, P / 16, D, 16] and values [S, KV, P, D]");
  const int64_t num_slots = values.size(0), key_heads = values.size(1), capacity = values.size(2),
                size = values.size(3), num_rows = rows.size(0);
  TORCH_CHECK(keys.size(0) == num_slots && keys.size(1) == key_heads &&
                  keys.size(2) == capacity / kLanes && capacity % kLanes == 0 && keys.size(3) == size &&
                  size > 0 && size % 2 == 0 && factors.dim() == 3 && factors.size(1) == size / 2,
              "keys, values and factors do not fit together");
  TORCH_CHECK(key_heads > 0 && num_heads > 0 && num_heads % key_heads == 0 && qkv.dim() == 2 &&
                  num_heads <= qkv.size(1),
              "the heads of queries must be so many for each of keys and values, and in qkv");
  const int64_t queries = num_heads / key_heads, width = (queries + 2) * size;
  TORCH_CHECK(qkv.size(0) == num_rows && qkv.size(1) == key_heads * width,
              "qkv must be [", num_rows, ", KV * (G + 2) * D]");
  const Cache cache{keys.data_ptr<float>(), values.data_ptr<float>(), key_heads, size, capacity};
  const int64_t* columns = rows.data_ptr<int64_t>();
  for (int64_t n = 0; n < num_rows; n++) {
    const int64_t* row = columns + n * kNumColumns;
    TORCH_CHECK(row[kSlot] < num_slots && row[kPosition] >= 0 && row[kPosition] < capacity &&
                    row[kRotary] >= 0 && row[kRotary] < factors.size(0) && row[kSource] >= 0 &&
                    row[kSource] < num_slots && row[kShared] >= 0,
                "row ", n, " does not fit the cache");
  }
  at::Tensor mixed = at::empty({num_rows, num_heads * size}, qkv.options());
  float *x = qkv.data_ptr<float>(), *to = mixed.data_ptr<float>();
  const float* by = factors.data_ptr<float>();
  const float scale = 1.0f / std::sqrt(static_cast<float>(size));
  // Rows that read the same positions come one after another.
  auto each = [&](int64_t begin, int64_t end, auto work) {
    for (int64_t head = 0; head < key_heads; head++) {
      for (int64_t n = begin; n < end; n++)
        work(columns + n * kNumColumns, head, x + (n * key_heads + head) * width,
             to + (n * key_heads + head) * queries * size);
    }
  };
  constexpr int64_t rows_a_thread = 8;
  at::parallel_for(0, num_rows, rows_a_thread, [&](int64_t begin, int64_t end) {
    each(begin, end, [&](const int64_t* row, int64_t head, float* from, float*) {
      if (row[kSlot] >= 0) store_head(from, by, row, head, queries, cache);
    });
  });
  at::parallel_for(0, num_rows, rows_a_thread, [&](int64_t begin, int64_t end) {
    std::vector<float> scores(static_cast<size_t>(4 * capacity));
    each(begin, end, [&](const int64_t* row, int64_t head, float* from, float* out) {
      if (row[kSlot] < 0) {
        std::fill_n(out, queries * size, 0.0f);
      } else {
        attend_head(from, row, head, queries, out, scores.data(), scale, cache);
      }
    });
  });
  return mixed;
}

TORCH_LIBRARY_FRAGMENT(vigorl, library) {
  library.def(
      "attend_cached(Tensor(a!) qkv, Tensor factors, Tensor(b!) keys, Tensor(c!) values, Tensor rows, "
      "int num_heads) -> Tensor");
}

TORCH_LIBRARY_IMPL(vigorl, CPU, library) { library.impl("attend_cached", attend_cached); }

TORCH_LIBRARY_IMPL(vigorl, AutogradCPU, library) {
  library.impl("attend_cached", torch::CppFunction::makeFromBoxedFunction<&refuse_gradients>());
}

}  // namespace

}  // namespace vigorl
