#include "conformance/safetensors.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "conformance/elements.h"

// The file: 8 bytes, the length of the header; the header, JSON {name: {dtype, shape, data_offsets}}; the data.
Arrays ReadSafetensors(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::uint64_t length = 0;
  file.read(reinterpret_cast<char*>(&length), sizeof length);
  if (!file || length > std::filesystem::file_size(path)) throw std::runtime_error(path.string() + ": no safetensors");
  std::string header(length, '\0');
  file.read(header.data(), static_cast<std::streamsize>(length));
  const std::streamoff start = file.tellg();

  Arrays arrays;
  const auto entries = nlohmann::json::parse(header);
  for (const auto& [name, entry] : entries.items()) {
    if (name == "__metadata__") continue;
    const auto begin = entry.at("data_offsets").at(0).get<std::int64_t>();
    const auto end = entry.at("data_offsets").at(1).get<std::int64_t>();
    Array array{DataTypeOf(entry.at("dtype")), entry.at("shape"), std::string(end - begin, '\0')};
    file.seekg(start + begin);
    file.read(array.data.data(), end - begin);
    if (!file) throw std::runtime_error(path.string() + ": " + name + " is cut short");
    arrays.emplace(name, std::move(array));
  }
  return arrays;
}

const Array& Find(const Arrays& arrays, const std::string& name) {
  const auto found = arrays.find(name);
  if (found == arrays.end()) throw std::runtime_error(name + ": no such tensor in the file");
  return found->second;
}
