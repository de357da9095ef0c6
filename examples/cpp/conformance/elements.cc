#include "conformance/elements.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <stdexcept>

namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bytes are taken as they lie in memory");

// IEEE 754 binary16: 1 sign, 5 exponent and 10 fraction bits.
double WidenFloat16(std::uint16_t bits) {
  const int exponent = bits >> 10 & 0x1f;
  const int fraction = bits & 0x3ff;
  double magnitude = std::ldexp(fraction + 1024, exponent - 25);
  if (exponent == 0) magnitude = std::ldexp(fraction, -24);  // subnormal
  if (exponent == 31) {
    magnitude = fraction == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  }
  return std::copysign(magnitude, bits & 0x8000 ? -1.0 : 1.0);
}

// bfloat16 is the upper half of a binary32.
double WidenBfloat16(std::uint16_t bits) {
  const std::uint32_t whole = std::uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &whole, sizeof value);
  return value;
}

template <typename Element>
double Convert(Element element) {
  return static_cast<double>(element);
}

template <typename Element>
std::vector<double> WidenEach(const std::string& bytes, double (*widen)(Element)) {
  if (bytes.size() % sizeof(Element) != 0) {
    throw std::runtime_error(std::to_string(bytes.size()) + " bytes are no whole number of elements");
  }
  std::vector<Element> elements(bytes.size() / sizeof(Element));
  if (!elements.empty()) std::memcpy(elements.data(), bytes.data(), bytes.size());
  std::vector<double> values;
  values.reserve(elements.size());
  for (const Element element : elements) values.push_back(widen(element));
  return values;
}

}  // namespace

qkv::v1::DataType DataTypeOf(const std::string& safetensors_name) {
  static const std::map<std::string, qkv::v1::DataType> kTypes = {
      {"F64", qkv::v1::DATA_TYPE_FLOAT64},   {"F32", qkv::v1::DATA_TYPE_FLOAT32}, {"F16", qkv::v1::DATA_TYPE_FLOAT16},
      {"BF16", qkv::v1::DATA_TYPE_BFLOAT16}, {"BOOL", qkv::v1::DATA_TYPE_BOOL},   {"I64", qkv::v1::DATA_TYPE_INT64},
      {"I32", qkv::v1::DATA_TYPE_INT32},     {"I8", qkv::v1::DATA_TYPE_INT8},     {"U8", qkv::v1::DATA_TYPE_UINT8}};
  const auto found = kTypes.find(safetensors_name);
  if (found == kTypes.end()) throw std::runtime_error(safetensors_name + ": no data type of the contract");
  return found->second;
}

std::vector<double> Widen(qkv::v1::DataType type, const std::string& bytes) {
  switch (type) {
    case qkv::v1::DATA_TYPE_FLOAT64:
      return WidenEach(bytes, Convert<double>);
    case qkv::v1::DATA_TYPE_FLOAT32:
      return WidenEach(bytes, Convert<float>);
    case qkv::v1::DATA_TYPE_FLOAT16:
      return WidenEach(bytes, WidenFloat16);
    case qkv::v1::DATA_TYPE_BFLOAT16:
      return WidenEach(bytes, WidenBfloat16);
    case qkv::v1::DATA_TYPE_INT64:
      return WidenEach(bytes, Convert<std::int64_t>);
    case qkv::v1::DATA_TYPE_INT32:
      return WidenEach(bytes, Convert<std::int32_t>);
    case qkv::v1::DATA_TYPE_INT8:
      return WidenEach(bytes, Convert<std::int8_t>);
    case qkv::v1::DATA_TYPE_BOOL:
    case qkv::v1::DATA_TYPE_UINT8:
      return WidenEach(bytes, Convert<std::uint8_t>);
    default:
      throw std::runtime_error("unknown data type " + std::to_string(type));
  }
}
