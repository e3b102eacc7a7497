module sbom

go 1.26

require github.com/CycloneDX/cyclonedx-go v0.10.0
