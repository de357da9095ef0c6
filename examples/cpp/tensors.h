// Between arrays of float and the tensors of the contract.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "qkv/v1/tensor.pb.h"

// The contract's bytes are little-endian and row-major, so that here they are those in memory.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "turn the bytes of every element round on a big-endian machine");

// `values` are row-major: the last axis of `shape` varies fastest.
inline qkv::v1::Operand Float32Operand(const std::vector<std::int64_t>& shape, const std::vector<float>& values) {
  qkv::v1::Operand operand;
  qkv::v1::Tensor& tensor = *operand.mutable_tensor();
  tensor.set_data_type(qkv::v1::DATA_TYPE_FLOAT32);
  tensor.mutable_shape()->Assign(shape.begin(), shape.end());
  tensor.set_data(values.data(), values.size() * sizeof(float));
  return operand;
}

// An answer has the type of its query, so this suits the answers to a float32 query; and vectors of models.
inline std::vector<float> Float32Values(const qkv::v1::Tensor& tensor) {
  const std::string& data = tensor.data();
  if (tensor.data_type() != qkv::v1::DATA_TYPE_FLOAT32 || data.size() % sizeof(float) != 0) {
    throw std::runtime_error("expected a float32 tensor");
  }
  std::vector<float> values(data.size() / sizeof(float));
  std::memcpy(values.data(), data.data(), data.size());
  return values;
}
