// Sixteen floats at a time in the compiler's own vector types. A function marked VIGORL_KERNEL is
// compiled for several generations of processors, and the best one is picked when the addon is loaded.
#pragma once

#include <cstdint>
#include <cstring>

namespace vigorl {

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define VIGORL_KERNEL __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
// Whether the kernel that is picked has 32 registers of 64 bytes.
inline bool has_wide_registers() { return __builtin_cpu_supports("x86-64-v4"); }
#else
#define VIGORL_KERNEL
inline bool has_wide_registers() { return false; }
#endif
#define VIGORL_INLINE inline __attribute__((always_inline))

constexpr int64_t kLanes = 16;

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));

// By reference, not by value: how vectors travel in registers differs between processors.
VIGORL_INLINE void load(Floats& to, const float* from) { std::memcpy(&to, from, sizeof(Floats)); }
VIGORL_INLINE void store(float* to, const Floats& from) { std::memcpy(to, &from, sizeof(Floats)); }

// The first `count` of sixteen, all where there are more; the others are zero, or stay as they are.
VIGORL_INLINE void load(Floats& to, const float* from, int64_t count) {
  if (__builtin_expect(count >= kLanes, 1)) return load(to, from);
  to = Floats{};
  for (int64_t i = 0; i < count; i++) to[i] = from[i];
}
VIGORL_INLINE void store(float* to, const Floats& from, int64_t count) {
  if (__builtin_expect(count >= kLanes, 1)) return store(to, from);
  for (int64_t i = 0; i < count; i++) to[i] = from[i];
}

// Neighbours (a, b) as (a, a), (b, b) and (b, a).
#if defined(__clang__)
#define VIGORL_SHUFFLE(x, ...) __builtin_shufflevector(x, x, __VA_ARGS__)
#else
#define VIGORL_SHUFFLE(x, ...) __builtin_shuffle(x, Ints{__VA_ARGS__})
#endif
VIGORL_INLINE void firsts(Floats& to, const Floats& x) {
  to = VIGORL_SHUFFLE(x, 0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14);
}
VIGORL_INLINE void seconds(Floats& to, const Floats& x) {
  to = VIGORL_SHUFFLE(x, 1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15);
}
VIGORL_INLINE void swapped(Floats& to, const Floats& x) {
  to = VIGORL_SHUFFLE(x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
}

// Halves of sixteen, eight and four exchanged: what a sum over all lanes takes, besides `swapped`.
VIGORL_INLINE void halves(Floats& to, const Floats& x) {
  to = VIGORL_SHUFFLE(x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
}
VIGORL_INLINE void quarters(Floats& to, const Floats& x) {
  to = VIGORL_SHUFFLE(x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
}
VIGORL_INLINE void eighths(Floats& to, const Floats& x) {
  to = VIGORL_SHUFFLE(x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
}
VIGORL_INLINE float sum(Floats x) {
  Floats other;
  halves(other, x);
  x += other;
  quarters(other, x);
  x += other;
  eighths(other, x);
  x += other;
  swapped(other, x);
  x += other;
  return x[0];
}
VIGORL_INLINE float maximum(Floats x) {
  Floats other;
  halves(other, x);
  x = x > other ? x : other;
  quarters(other, x);
  x = x > other ? x : other;
  eighths(other, x);
  x = x > other ? x : other;
  swapped(other, x);
  x = x > other ? x : other;
  return x[0];
}

// e^x to about one unit in the last place; 0 below -87 and infinite above 88.
VIGORL_INLINE void exponential(Floats& x) {
  // Adding 1.5 * 2^23 rounds to a whole number, which the low bits of the sum then hold.
  const Floats shifted = x * 1.44269504f + 12582912.0f;
  const Floats whole = shifted - 12582912.0f;
  const Floats rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  Floats power = rest * 1.9875691500e-4f + 1.3981999507e-3f;
  power = power * rest + 8.3334519073e-3f;
  power = power * rest + 4.1665795894e-2f;
  power = power * rest + 1.6666665459e-1f;
  power = power * rest + 5.0000001201e-1f;
  power = power * rest * rest + rest + 1.0f;
  const Ints exponent = ((Ints)shifted + (127 - 0x4B400000)) << 23;
  power *= (Floats)exponent;
  power = x < -87.0f ? Floats{} : power;
  x = x > 88.0f ? Floats{} + __builtin_inff() : power;
}

// 1 / (1 + e^-x)
VIGORL_INLINE void sigmoid(Floats& x) {
  Floats power = -x;
  exponential(power);
  x = 1.0f / (1.0f + power);
}

// Pairs (a, b) of neighbours times factors (c, s), as complex numbers; `sign` -1 turns them back.
VIGORL_INLINE void rotate(const float* from, const float* factors, float* to, int64_t size, float sign) {
  const Floats signs = Floats{-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1} * sign;
  for (int64_t i = 0, n = size; i < size; i += kLanes, n -= kLanes) {
    Floats x, factor, real, imaginary, other;
    load(x, from + i, n);
    load(factor, factors + i, n);
    firsts(real, factor);
    seconds(imaginary, factor);
    swapped(other, x);
    store(to + i, x * real + other * (imaginary * signs), n);
  }
}

}  // namespace vigorl
