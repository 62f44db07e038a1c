// Attention of a decode step over the cache of keys and values, for float32 on a CPU: every slot's one
// new position is rotated, stored and attends to what its slot holds, whatever the other slots do.
// Where several slots begin with the same positions, these are read from one of them.
#include "kernels.h"

#include <vector>

namespace vigorl {

namespace {

// Columns of `slots`: positions held, rotary position of the new one, slot to read the first `shared`
// positions from. A slot with -1 positions is idle.
enum Column { kHeld, kRotary, kSource, kShared, kNumColumns };

struct Cache {
  float* keys;    // [S * KV, D, P]
  float* values;  // [S * KV, P, D]
  int64_t heads, size, capacity;
};

// scores[g][p] = q[g] . key[p] for `Blocks` times sixteen positions from `position` on.
template <int Queries, int Blocks>
VIGORL_INLINE void score(const float* q, const float* keys, float* scores, int64_t position,
                         const Cache& cache) {
  Floats sums[Queries][Blocks] = {};
  for (int64_t d = 0; d < cache.size; d++) {
    const float* from = keys + d * cache.capacity + position;
#pragma GCC unroll 4
    for (int b = 0; b < Blocks; b++) {
      Floats key;
      load(key, from + b * kLanes);
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
  float top = highest[0];
  for (int i = 1; i < kLanes; i++) top = std::max(top, highest[i]);
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

// One slot and key-value head: `x` holds its query heads, its key and its value, rotated in place.
VIGORL_KERNEL void attend_head(float* x, const float* factors, const int64_t* slot, int64_t row,
                               int64_t queries, float* to, float* scores, float scale,
                               const Cache& cache) {
  const int64_t size = cache.size, held = slot[kHeld];
  const float* factor = factors + slot[kRotary] * size;
  for (int64_t head = 0; head <= queries; head++) turn(x + head * size, factor, x + head * size, size, 1);
  float* keys = cache.keys + row * size * cache.capacity;
  float* values = cache.values + row * size * cache.capacity;
  for (int64_t d = 0; d < size; d++) keys[d * cache.capacity + held] = x[queries * size + d];
  std::copy_n(x + (queries + 1) * size, size, values + held * size);
  const int64_t source = (slot[kSource] * cache.heads + row % cache.heads) * size * cache.capacity;
  // Whole blocks of positions only: the rest is in the slot itself, too.
  const int64_t shared = std::min(slot[kShared], held) / kLanes * kLanes;
  auto some = [&](auto count, int64_t first) __attribute__((always_inline)) {
    attend_some<decltype(count)::value>(x + first * size, cache.keys + source, keys,
                                        cache.values + source, values, to + first * size, scores, shared,
                                        held + 1, scale, cache);
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
                         at::Tensor values, const at::Tensor& slots, int64_t num_heads) {
  const at::Tensor factors = at::view_as_real(factors_complex);
  const int64_t num_slots = slots.size(0), size = values.size(2), capacity = values.size(1);
  for (const at::Tensor& part : {qkv, factors, keys, values}) {
    TORCH_CHECK(part.device().is_cpu() && part.scalar_type() == at::kFloat && part.is_contiguous(),
                "qkv, factors, keys and values must be contiguous float32 on the CPU");
  }
  TORCH_CHECK(slots.scalar_type() == at::kLong && slots.is_contiguous() && slots.size(1) == kNumColumns,
              "slots must be int64 [S, ", static_cast<int>(kNumColumns), "]");
  TORCH_CHECK(num_slots > 0 && keys.size(0) % num_slots == 0 && keys.numel() == values.numel() &&
                  capacity % kLanes == 0 && size % 2 == 0 && factors.size(1) * 2 == size,
              "the cache must hold keys [S * KV, D, P] and values [S * KV, P, D], P in whole sixteens");
  const int64_t key_heads = keys.size(0) / num_slots, queries = num_heads / key_heads;
  const int64_t width = (queries + 2) * size;
  TORCH_CHECK(qkv.numel() == num_slots * key_heads * width, "qkv must be [S, KV * (G + 2) * D]");
  const Cache cache{keys.data_ptr<float>(), values.data_ptr<float>(), key_heads, size, capacity};
  const int64_t* states = slots.data_ptr<int64_t>();
  for (int64_t slot = 0; slot < num_slots; slot++) {
    const int64_t* state = states + slot * kNumColumns;
    TORCH_CHECK(state[kHeld] < capacity && state[kRotary] >= 0 && state[kRotary] < factors.size(0) &&
                    state[kSource] >= 0 && state[kSource] < num_slots && state[kShared] >= 0,
                "slot ", slot, " does not fit the cache");
  }
  at::Tensor mixed = at::empty({num_slots, num_heads * size}, qkv.options());
  float *x = qkv.data_ptr<float>(), *to = mixed.data_ptr<float>();
  const float* by = factors.data_ptr<float>();
  const float scale = 1.0f / std::sqrt(static_cast<float>(size));
  at::parallel_for(0, num_slots, 8, [&](int64_t begin, int64_t end) {
    std::vector<float> scores(static_cast<size_t>(4 * capacity));
    // Slots that read the same positions come one after another.
    for (int64_t head = 0; head < key_heads; head++) {
      for (int64_t slot = begin; slot < end; slot++) {
        const int64_t row = slot * key_heads + head;
        float* out = to + row * queries * size;
        if (states[slot * kNumColumns] < 0) {
          std::fill_n(out, queries * size, 0.0f);
          continue;
        }
        attend_head(x + row * width, by, states + slot * kNumColumns, row, queries, out, scores.data(),
                    scale, cache);
      }
    }
  });
  return mixed;
}

TORCH_LIBRARY_FRAGMENT(vigorl, library) {
  library.def(
      "attend_cached(Tensor(a!) qkv, Tensor factors, Tensor(b!) keys, Tensor(c!) values, Tensor slots, "
      "int num_heads) -> Tensor");
}

TORCH_LIBRARY_IMPL(vigorl, CPU, library) { library.impl("attend_cached", attend_cached); }

}  // namespace

}  // namespace vigorl
