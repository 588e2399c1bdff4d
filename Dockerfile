# One static binary in an otherwise empty image. The manifest is none of it: `qovery-irsa install` gives it to the job.
#
#   docker build -t qovery-irsa .
#   docker buildx build --platform linux/amd64,linux/arm64 -t registry.example.com/qovery-irsa:0.1.0 --push .
#
# The compiler always runs on the machine's own architecture and cross-compiles where the target differs: emulated, it takes hours.

FROM --platform=$BUILDPLATFORM rust:1.95-bookworm AS build
ARG TARGETARCH
WORKDIR /build

RUN set -eu; \
    arch=${TARGETARCH:-$(dpkg --print-architecture)}; \
    case "$arch" in \
        amd64) gcc=x86_64-linux-gnu-gcc package=gcc-x86-64-linux-gnu ;; \
        arm64) gcc=aarch64-linux-gnu-gcc package=gcc-aarch64-linux-gnu ;; \
        *) echo "no build for $arch: amd64 and arm64 only" >&2; exit 1 ;; \
    esac; \
    if ! command -v "$gcc"; then \
        apt-get update; \
        apt-get install --yes --no-install-recommends "$package" "libc6-dev-$arch-cross"; \
        rm -rf /var/lib/apt/lists/*; \
    fi

# The dependencies, in a layer that stays until a manifest or the lock file changes. Empty sources in place of ours do it as well as
# a tool for this would: there is one package to build, and nothing more to install. The other members are never built, nor is what they need
# downloaded, but they are in the workspace.
COPY .ci/cargo-image .ci/no-unwind-tables.ld .ci/
COPY Cargo.toml Cargo.lock ./
COPY benches/Cargo.toml benches/
COPY tests/sandbox/Cargo.toml tests/sandbox/
COPY tests/conformance/Cargo.toml tests/conformance/
COPY vendor vendor
RUN set -eu; \
    mkdir -p src tests/sandbox/src tests/conformance/src; \
    echo 'fn main() {}' | tee src/main.rs > tests/conformance/src/main.rs; \
    touch src/lib.rs tests/sandbox/src/lib.rs benches/budget.rs; \
    .ci/cargo-image "${TARGETARCH:-$(dpkg --print-architecture)}" build --release --locked --bin qovery-irsa

# COPY keeps the times of the files, which are older than what was just built from the empty ones: without `touch` cargo would keep that.
COPY src src
RUN set -eu; \
    touch src/main.rs src/lib.rs; \
    .ci/cargo-image "${TARGETARCH:-$(dpkg --print-architecture)}" build --release --locked --bin qovery-irsa; \
    cp target/*-unknown-linux-musl/release/qovery-irsa /qovery-irsa

FROM scratch
LABEL org.opencontainers.image.title="qovery-irsa" \
      org.opencontainers.image.description="Gives the services of a Qovery environment on EKS their AWS permissions, as a lifecycle job" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /qovery-irsa /qovery-irsa
WORKDIR /
# By number: there is no /etc/passwd, and Kubernetes can then see that it is not root.
USER 65532:65532
ENTRYPOINT ["/qovery-irsa"]
