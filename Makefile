# Everything that is done to acc. Each target installs what it needs on a
# Debian-like machine (root and apt-get), and says what. make help lists them.

KERNEL  ?= 6.1
KERNELS := 5.10 6.1 6.12 7
KERNELS_ARM64 := 6.1 6.12
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null)
DATE    := $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BUILD   := .vm-cache/build
# What the test programs of accept need beside the kernel itself.
MODULES := vsock_loopback,sctp,smc,smc_diag,mptcp,nfsd,tcp_diag,nbd
TESTS   ?= ^TestVM
# Debian's servers, which acc's findings are held against.
SERVERS := nginx-light,apache2,apache2-utils,lighttpd,redis-server,memcached,postgresql,mariadb-server,openssh-server,exim4-daemon-light,vsftpd,dovecot-imapd,php-fpm,gunicorn,uvicorn,nodejs,unbound,dnsmasq,bind9,socat,puma,varnish,squid,mosquitto,rsyslog,xinetd,curl,procps
# A Debian to install packages in: shells, readers of the manual and of an rpm, a server, containers.
PACKAGES := apt,bash-completion,bsdutils,crun,dbus,fish,libarchive-tools,man-db,nginx-light,podman,curl,procps,rpm,tmux,zsh,wrk,mandoc
FUZZTIME ?= 60s
MUTANTS ?= 400
SEED    ?= $(shell date +%s)
FIGURES  = $(CURDIR)/$(BUILD)/reliability.tsv
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.1.4
VM_TIME ?= 60m
OUT     ?= $(BUILD)/vm-$(KERNEL)
SIZE_TIME ?= 100s
READ_EVENTS ?= 10000000

.PHONY: all help build demo helpers vm-programs test test-unit test-race test-vm test-vm-halves test-vm-arm64 test-vm-all test-vm-lockdown test-vm-why test-servers torture torture-vm soak-vm figures mutants supply licenses sbom reproducible tag release release-check package-check test-packages test-export export-programs test-beside test-wine image cross generate generate-check lint lint-more fuzz bench bench-record bench-size bench-read peers cost clean python openssh clang chromium test-browser uplot

all: build

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the acc binary; needs only Go
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o acc ./cmd/acc

$(BUILD):
	mkdir -p $(BUILD)

helpers: $(BUILD) ## the programs that tests in virtual machines run
	go build -o $(BUILD)/vm ./capture/vm
	CGO_ENABLED=0 go build -o $(BUILD)/goserver ./testdata/demo/goserver
	CGO_ENABLED=0 go build -o $(BUILD)/accepts ./testdata/accepts
	CGO_ENABLED=0 GOARCH=386 go build -o $(BUILD)/accepts386 ./testdata/accepts

demo: build helpers ## the main job: real servers, a real kernel, a real capture
	.ci/demo.sh ./acc $(BUILD)/goserver $(BUILD)/vm

test: lint test-unit test-race test-export cross generate-check test-vm-halves ## everything that must pass
	@echo "make test: all passed"

test-unit: python openssh ## Go tests that need no kernel to trace
	ACC_NEED_PYTHON=1 go test -timeout 30m ./...

test-race: ## the quick ones of them, with the race detector
	GORACE=atexit_sleep_ms=0 go test -race -short -timeout 30m ./...

test-vm: vm-programs ## the tests of recording on Linux KERNEL (5.10, 6.1, 6.12, 7), in a virtual machine; TESTS chooses
	rm -rf $(OUT) && mkdir -p $(OUT) && echo '$(VERSION)' >$(OUT)/commit
	$(BUILD)/vm -kernel $(KERNEL) -smp $(or $(SMP),2) -timeout $(VM_TIME) -mem 2048 -in $(BUILD)/capture.test -in acc -in $(BUILD)/goserver \
		-in $(BUILD)/accepts -in $(BUILD)/accepts386 -modules $(MODULES) -append lsm=landlock,lockdown,bpf -out $(OUT) \
		-in testdata/demo/nginx.conf -in testdata/demo/load.sh -bin nginx,wrk \
		-- /bin/busybox env ACC_TORTURE=$(TORTURE) ACC_LOCKDOWN=$(LOCKDOWN) /in/capture.test -test.v -test.timeout $(VM_TIME) -test.run '$(TESTS)'

vm-programs: build helpers
	CGO_ENABLED=0 go test -c -o $(BUILD)/capture.test ./capture

test-vm-halves: vm-programs ## all of them, in two machines side by side: an emulated machine keeps one CPU busy
	$(BUILD)/vm -kernel $(KERNEL) -bin nginx,wrk -prepare
	@$(MAKE) --no-print-directory -j2 vm-half-1 vm-half-2 || .ci/again.sh $(KERNEL) $(BUILD)/half-1.log $(BUILD)/half-2.log

# The halves take about as long; each line begins with the half's number.
HALF_1 := ^TestVM[A-N]
HALF_2 := ^TestVM[O-Z]
vm-half-%:
	@rm -f $(BUILD)/half-$*.failed
	@{ $(MAKE) --no-print-directory -o vm-programs test-vm TESTS='$(HALF_$*)' OUT=$(OUT)-$* || touch $(BUILD)/half-$*.failed; } 2>&1 | \
		sed -u 's/^/[$*] /' | tee $(BUILD)/half-$*.log
	@! test -e $(BUILD)/half-$*.failed

torture-vm: soak-vm ## the tests of recording that can run for long, for long, and the figures of the run; two machines, an hour in all
	$(MAKE) --no-print-directory test-vm TORTURE=1 VM_TIME=60m OUT=$(BUILD)/vm-$(KERNEL)-torture TESTS='^TestVM(Witness|Killed|Stopped|Privileges|Verifier|Casts)'
	$(MAKE) --no-print-directory figures

soak-vm: ## a million connections
	$(MAKE) --no-print-directory test-vm TORTURE=1 VM_TIME=40m OUT=$(BUILD)/vm-$(KERNEL)-soak TESTS='^TestVMSoak$$$$'

test-servers: build helpers ## Debian's servers, healthy and in trouble: acc's findings and counts against theirs; into docs/SERVERS.md. TESTS chooses
	CGO_ENABLED=0 go test -c -o $(BUILD)/capture.test ./capture
	rm -rf $(BUILD)/servers && mkdir -p $(BUILD)/servers
	$(BUILD)/vm -kernel $(KERNEL) -smp $(or $(SMP),2) -timeout $(VM_TIME) -mem 3072 -root $(SERVERS) -in $(BUILD)/capture.test -in acc \
		-in $(BUILD)/goserver -modules $(MODULES) -out $(BUILD)/servers \
		-- /usr/bin/env ACC_SERVERS=1 /in/capture.test -test.v -test.timeout $(VM_TIME) -test.run '$(if $(filter ^TestVM,$(TESTS)),^TestVMServers,$(TESTS))'
	$(if $(filter ^TestVM,$(TESTS)),go run ./capture/vm/servers $(BUILD)/servers/servers.tsv >docs/SERVERS.md)

test-vm-lockdown: ## what a locked down kernel does; it can't be unlocked, hence a machine of its own
	$(MAKE) --no-print-directory test-vm LOCKDOWN=1 TESTS='^TestVMLockdown'

test-vm-why: vm-programs ## why clients wait: servers in C, Go and Python that measure themselves, and Debian's nginx; needs gcc
	gcc -O2 -fomit-frame-pointer -pthread -Wall -Wextra -Wl,--build-id -o $(BUILD)/why-server testdata/why/server.c
	strip -o $(BUILD)/why-stripped $(BUILD)/why-server
	CGO_ENABLED=0 go build -o $(BUILD)/why-goserver ./testdata/why/goserver
	rm -rf $(OUT) && mkdir -p $(OUT)
	python=$$(/usr/bin/python3 -I -c 'import os; print(os.path.dirname(os.__file__))') && \
	$(BUILD)/vm -kernel $(KERNEL) -smp $(or $(SMP),2) -timeout $(VM_TIME) -mem 2048 -in $(BUILD)/capture.test -in acc \
		-in $(BUILD)/why-server -in $(BUILD)/why-stripped -in $(BUILD)/why-goserver -in testdata/why/server.py \
		-in $$python/encodings:$$python/encodings -in $$python/os.py:$$python/os.py \
		-modules $(MODULES) -append lsm=landlock,lockdown,yama,bpf -out $(OUT) -bin nginx,/usr/bin/python3 \
		-- /bin/busybox env ACC_WHY=1 /in/capture.test -test.v -test.timeout $(VM_TIME) -test.run '$(if $(filter ^TestVM,$(TESTS)),^TestVMWhy,$(TESTS))'

test-vm-arm64: helpers ## the same on arm64, of what is not slow there; everything is built here
	GOARCH=arm64 CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o $(BUILD)/arm64/acc ./cmd/acc
	GOARCH=arm64 CGO_ENABLED=0 go build -o $(BUILD)/arm64/accepts ./testdata/accepts
	GOARCH=arm64 CGO_ENABLED=0 go test -c -o $(BUILD)/arm64/capture.test ./capture
	rm -rf $(BUILD)/vm-$(KERNEL)-arm64
	$(BUILD)/vm -arch arm64 -kernel $(KERNEL) -timeout 30m -mem 2048 -in $(BUILD)/arm64/capture.test -in $(BUILD)/arm64/acc \
		-in $(BUILD)/arm64/accepts -modules $(MODULES) -out $(BUILD)/vm-$(KERNEL)-arm64 \
		-- /in/capture.test -test.v -test.timeout 28m -test.run '^TestVM(Paths|Outcomes|Before|Counts|KilledRecorder|Modes|Looks)$$'

test-vm-all: ## all kernels, and docs/KERNELS.md, the table of what is recorded where
	set -e; for k in $(KERNELS); do $(MAKE) --no-print-directory test-vm KERNEL=$$k; done
	set -e; for k in $(KERNELS_ARM64); do $(MAKE) --no-print-directory test-vm-arm64 KERNEL=$$k; done
	go run ./capture/vm/matrix $(KERNELS:%=$(BUILD)/vm-%/paths.tsv) $(KERNELS_ARM64:%=$(BUILD)/vm-%-arm64/paths.tsv) >docs/KERNELS.md

torture: python openssh ## all of every offline test; the figures go into docs/RELIABILITY.md. An hour; torture-vm has the recorder's
	mkdir -p $(BUILD)
	rm -f $(FIGURES)
	ACC_TORTURE=1 ACC_SEED=$(SEED) ACC_FIGURES=$(FIGURES) ACC_NEED_PYTHON=1 go test -count=1 -timeout 60m ./format ./replay ./analysis/... ./confine ./evidence/... ./cmd/...
	$(MAKE) --no-print-directory fuzz FUZZTIME=300s
	printf 'host\tC1 fuzzing\t-\tpass\t10 targets, 300 s each: no crash\n' >> $(FIGURES)
	$(MAKE) --no-print-directory mutants
	$(MAKE) --no-print-directory reproducible
	$(MAKE) --no-print-directory figures

figures: ## write docs/RELIABILITY.md's figures from what torture and the tests in virtual machines left
	go run ./testdata/reliability -seed $(SEED) docs/RELIABILITY.md $(FIGURES) $(wildcard $(BUILD)/vm-*/reliability.tsv)

mutants: ## changes of format's code that its tests must notice
	ACC_FIGURES=$(FIGURES) go run ./testdata/mutate -n $(MUTANTS) -seed $(SEED) -least 80 format

supply: licenses sbom reproducible ## what acc is made of, and known holes in it
	go run $(GOVULNCHECK) ./... || { test $$? -ne 3 || exit 3; echo "supply: govulncheck did not reach its database: known holes were NOT looked for"; }

licenses: build ## docs/LICENSES.md
	go run ./testdata/supply licenses acc > $(BUILD)/LICENSES.md && mv $(BUILD)/LICENSES.md docs/LICENSES.md

sbom: build ## acc.cdx.json, a CycloneDX bill of materials
	go run ./testdata/supply sbom acc > acc.cdx.json

reproducible: ## two builds in different folders are the same, byte for byte
	rm -rf $(BUILD)/twice && mkdir -p $(BUILD)/twice/a $(BUILD)/twice/elsewhere/b
	git archive HEAD | tar -x -C $(BUILD)/twice/a
	git archive HEAD | tar -x -C $(BUILD)/twice/elsewhere/b
	for d in a elsewhere/b; do (cd $(BUILD)/twice/$$d && GOCACHE=$(CURDIR)/$(BUILD)/twice/cache-$$(basename $$d) CGO_ENABLED=0 \
		go build -trimpath -buildvcs=false -ldflags "$(LDFLAGS)" -o acc ./cmd/acc) || exit 1; done
	cmp $(BUILD)/twice/a/acc $(BUILD)/twice/elsewhere/b/acc
	printf 'host\tC5 two builds\t-\tpass\tequal, SHA-256 %s\n' $$(sha256sum < $(BUILD)/twice/a/acc | cut -c1-16) >> $(FIGURES)
	rm -rf $(BUILD)/twice

tag: ## RELEASE=v0.1.0: the commit and the signed tag of a release; pushing them is left to you. SIGN=-a: not signed
	@echo '$(RELEASE)' | grep -qE '^v[0-9]+\.[0-9]+\.[0-9]+$$' || { echo "make tag RELEASE=v0.1.0"; exit 2; }
	@test -z "$$(git status --porcelain)" || { echo "commit first:"; git status --short; exit 1; }
	sed -i "s/^## Not released yet$$/&\n\n## $(RELEASE:v%=%), $$(date -u +%F)/" CHANGELOG.md
	sed -i '/^There is no release yet: /d' README.md
	git commit -qam 'docs: $(RELEASE)'
	git tag $(or $(SIGN),-s) $(RELEASE) -m 'acc $(RELEASE)' || { git reset -q --hard HEAD~; exit 1; }
	@echo "next: make release release-check package-check; then git push origin HEAD $(RELEASE)"

release: ## archives, packages, bills of materials and sums for all systems, in dist/
	go run ./testdata/release -version '$(VERSION)' -commit '$(COMMIT)' -date '$(DATE)' -out dist $(if $(TARGETS),-targets $(TARGETS))

release-check: ## two releases from different folders, the second one with an empty build cache, are the same, byte for byte
	rm -rf $(BUILD)/twice && mkdir -p $(BUILD)/twice/a $(BUILD)/twice/elsewhere/b
	set -e; for d in a elsewhere/b; do git archive $(COMMIT) | tar -x -C $(BUILD)/twice/$$d; cd $(BUILD)/twice/$$d; \
		go run ./testdata/release -version '$(VERSION)' -commit '$(COMMIT)' -date '$(DATE)' $(if $(TARGETS),-targets $(TARGETS)); \
		cd $(CURDIR); export GOCACHE=$(CURDIR)/$(BUILD)/twice/cache; done
	cmp $(BUILD)/twice/a/dist/SHA256SUMS $(BUILD)/twice/elsewhere/b/dist/SHA256SUMS
	cat $(BUILD)/twice/a/dist/SHA256SUMS
	rm -rf $(BUILD)/twice

package-check: release ## the packages, read and installed by programs that did not make them
	.ci/packages.sh dist

test-packages: $(BUILD) ## the deb in a Debian with systemd: installed, used, upgraded, removed, purged; what each directive of the unit costs, into docs/INSTALL.md. TESTS, DIRECTIVES and PROBES choose
	for v in 0.0.1:older 0.0.2:newer; do go run ./testdata/release -version v$${v%:*} -commit '$(COMMIT)' -date '$(DATE)' -targets linux/amd64 \
		-out $(BUILD)/packages/$${v#*:} || exit 1; done
	go build -o $(BUILD)/vm ./capture/vm
	CGO_ENABLED=0 go build -o $(BUILD)/accepts ./testdata/accepts
	CGO_ENABLED=0 go test -c -o $(BUILD)/deploy.test ./deploy
	rm -rf $(BUILD)/vm-packages && mkdir -p $(BUILD)/vm-packages
	$(BUILD)/vm -kernel $(KERNEL) -smp $(or $(SMP),2) -timeout $(VM_TIME) -mem 3072 -systemd -root $(PACKAGES) -in $(BUILD)/deploy.test \
		-in $(BUILD)/packages/older:/in/older -in $(BUILD)/packages/newer:/in/newer -in $(BUILD)/accepts -in deploy:/in/deploy \
		-append 'systemd.mask=podman.service systemd.mask=podman-restart.service systemd.mask=podman-auto-update.service' \
		-out $(BUILD)/vm-packages -- /usr/bin/env ACC_PACKAGES=1 'ACC_DIRECTIVES=$(DIRECTIVES)' 'ACC_PROBES=$(PROBES)' /in/deploy.test -test.v -test.timeout $(VM_TIME) -test.run '$(TESTS)'
	$(if $(DIRECTIVES),,test ! -e $(BUILD)/vm-packages/sandbox.md || sed -i -e '/^<!-- sandbox:/,/^<!-- end of sandbox/{/^<!--/!d}' \
		-e '/^<!-- sandbox:/r $(BUILD)/vm-packages/sandbox.md' docs/INSTALL.md)

image: build ## acc in an image of one file, by podman or docker, without a base image and without a network
	$(or $(shell command -v podman),docker) build -f deploy/Containerfile -t acc .

test-browser: chromium ## the pages of acc report in Debian's Chromium: hostile names, clicks and keys, speed. ACC_SHOTS=folder with ACC_SHOT_CAPTURE=file takes screenshots
	ACC_BROWSER=1 go test -count=1 -timeout 30m ./cmd/acc -run '^TestBrowser'

test-export: $(BUILD) export-programs ## exports, read by programs that acc's makers did not write, and the commands and SQL of docs/FLEET.md; from npm, the Go proxy and Debian. OCSF=CHECKOUT of ocsf-schema checks that, too
	ACC_OCSF=$(OCSF) ACC_EXPORT=$(CURDIR)/$(BUILD)/export/node_modules go test -count=1 -timeout 30m ./cmd/acc -run '^TestFleet' -v

# DuckDB, ClickHouse, hyparquet, Perfetto, the collector's pdata, Elastic's fields, Grafana's SDK, SheetJS, an S3, bro-cut (now zeek-cut), tshark, rsync, rclone, the AWS CLI.
EXPORT_TOOLS := npm:npm bro-cut:bro-aux tshark:tshark rsync:rsync rclone:rclone aws:awscli
export-programs:
	@missing=; for p in $(EXPORT_TOOLS); do command -v $${p%:*} >/dev/null || missing="$$missing $${p#*:}"; done; test -z "$$missing" || { \
		echo "installing$$missing"; export DEBIAN_FRONTEND=noninteractive; (apt-get install -y -qq --no-install-recommends $$missing || \
		(apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing)) >/dev/null; }
	mkdir -p $(BUILD)/export && cp testdata/export/package*.json $(BUILD)/export/
	cd $(BUILD)/export && for n in 1 2 3; do npm install --no-audit --no-fund --loglevel=error && exit; sleep 5; done; exit 1
	cd testdata/export/otlp && go build -o $(CURDIR)/$(BUILD)/export/otlp .
	cd testdata/export/grafana && go build -o $(CURDIR)/$(BUILD)/export/grafana .

test-beside: build helpers export-programs ## tcpdump and acc side by side in a virtual machine, by docs/FLEET.md's own command, and what tshark selects of it; KEEP=1 puts both files into testdata/export/beside
	CGO_ENABLED=0 go test -c -o $(BUILD)/capture.test ./capture
	rm -rf $(BUILD)/beside && mkdir -p $(BUILD)/beside
	$(BUILD)/vm -kernel $(KERNEL) -timeout 10m -in $(BUILD)/capture.test -in acc -bin tcpdump -out $(BUILD)/beside \
		-- /bin/busybox env ACC_BESIDE=1 /in/capture.test -test.v -test.timeout 9m -test.run '^TestVMBeside$$'
	ACC_BESIDE=$(CURDIR)/$(BUILD)/beside ACC_EXPORT=$(CURDIR)/$(BUILD)/export/node_modules go test -count=1 ./cmd/acc -run '^TestFleetBeside$$' -v
	$(if $(KEEP),rm -f testdata/export/beside/* && cp $(BUILD)/beside/* testdata/export/beside/)

test-wine: ## the Windows binary under wine: the scripts of testdata/script
	.ci/wine.sh

cross: ## offline work needs no Linux
	GOOS=darwin GOARCH=arm64 go build -o /dev/null ./cmd/acc
	GOOS=windows GOARCH=amd64 go build -o /dev/null ./cmd/acc
	GOOS=linux GOARCH=arm64 go build -o /dev/null ./cmd/acc
	GOOS=linux GOARCH=arm64 go vet ./capture/... ./bpf
	set -e; for p in format replay analysis; do GOOS=darwin GOARCH=arm64 go test -c -o /dev/null ./$$p; done

generate: clang ## compile the BPF programs again
	cd bpf && go generate .

generate-check: generate ## the committed objects are what the pinned clang makes of the source
	git diff --exit-code --stat -- bpf || { echo "bpf: the committed objects differ from what make generate makes; commit them"; exit 1; }

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	go vet ./...
	GOOS=windows go vet ./cmd/acc ./confine ./format ./replay ./analysis/... ./evidence/...
	GOOS=darwin go vet ./cmd/acc ./confine ./format ./replay ./analysis/... ./evidence/...
	go run $(STATICCHECK) ./...

lint-more: ## golangci-lint with .golangci.yml
	go run $(GOLANGCI) run ./...

fuzz: ## each fuzz target for FUZZTIME (60s)
	set -e; for target in format:FuzzReader format:FuzzContent format:FuzzIndex format:FuzzFindSources replay:FuzzOrder evidence/sshsig:FuzzParse evidence/sshsig:FuzzSigners evidence/sshsig:FuzzRevoked evidence/checkpoints:FuzzRead capture/stacks:FuzzFile capture/stacks:FuzzGoTable; do \
		go test ./$${target%%:*} -run xxx -fuzz $${target##*:}'$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 10x; done

bench: bench-record bench-size bench-read ## acc and its peers side by side, into docs/BENCHMARKS.md; and what go test measures
	go test ./format ./analysis ./capture -run xxx -bench .

bench-record: build helpers peers ## what recording costs, beside trace-cmd, perf, bpftrace, strace and tcpdump
	$(BUILD)/bench record $(BUILD)/vm ./acc $(BUILD)/loop

bench-size: build helpers peers ## SIZE_TIME: how long wrk loads nginx, by the machine's clock, which is some ten times slower than ours; - takes the files of the run before
	$(BUILD)/bench size $(BUILD)/vm ./acc $(SIZE_TIME)

bench-read: build helpers peers ## reads what bench-size left
	$(BUILD)/bench read ./acc .vm-cache/bench $(READ_EVENTS)

peers: ## the programs that acc is measured against
	@command -v trace-cmd perf bpftrace strace tcpdump tshark nginx wrk zstd >/dev/null || { echo "installing trace-cmd linux-perf bpftrace strace tcpdump tshark nginx-light wrk zstd"; \
		(apt-get install -y -qq --no-install-recommends trace-cmd linux-perf bpftrace strace tcpdump tshark nginx-light wrk zstd || \
		(apt-get update -qq && apt-get install -y -qq --no-install-recommends trace-cmd linux-perf bpftrace strace tcpdump tshark nginx-light wrk zstd)) >/dev/null; }
	CGO_ENABLED=0 go build -o $(BUILD)/loop ./testdata/bench/loop
	go build -o $(BUILD)/bench ./testdata/bench

cost: helpers ## instructions that recording costs, in a machine whose clock counts them; MODE=fentry, EVENTS=accept, WATCH=1 and MODE=select choose; PROFILE=all leaves a profile of the recorder instead
	CGO_ENABLED=0 go test -c -o $(BUILD)/capture.test ./capture
	$(BUILD)/vm -kernel $(KERNEL) -icount -append mitigations=off -timeout 60m -in $(BUILD)/capture.test -modules tcp_diag -out $(BUILD)/cost -- /bin/busybox env ACC_COST=$(or $(MODE),1) ACC_COST_EVENTS=$(EVENTS) ACC_PROFILE=$(PROFILE) /in/capture.test -test.v -test.run '^TestCost$(if $(WATCH),Watch,$(if $(filter select,$(MODE)),Select,(Idle)?))$$'

python: ## Debian's own, which the documentation promises
	@/usr/bin/python3 -c 'import msgpack, zstandard' 2>/dev/null || { echo "installing python3-msgpack python3-zstandard"; \
		(apt-get install -y -qq --no-install-recommends python3 python3-msgpack python3-zstandard || \
		(apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 python3-msgpack python3-zstandard)) >/dev/null; }

openssh: ## ssh-keygen, which judges signatures and lists of signers beside acc
	@command -v ssh-keygen >/dev/null || { echo "installing openssh-client"; \
		(apt-get install -y -qq --no-install-recommends openssh-client || \
		(apt-get update -qq && apt-get install -y -qq --no-install-recommends openssh-client)) >/dev/null; }

chromium: ## a browser to open reports in
	@command -v chromium >/dev/null || { echo "installing chromium"; \
		(apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core || \
		(apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core)) >/dev/null; }

uplot: ## compares uPlot, which the pages of acc report draw with, with what npm has of that version
	rm -rf $(BUILD)/uplot && mkdir -p $(BUILD)/uplot && cd $(BUILD)/uplot && npm pack --silent uplot@$$(cat $(CURDIR)/analysis/htmlreport/page/uplot/VERSION) >/dev/null && tar -xf uplot-*.tgz
	set -e; for f in LICENSE dist/uPlot.iife.min.js dist/uPlot.min.css; do cmp $(BUILD)/uplot/package/$$f analysis/htmlreport/page/uplot/$$(basename $$f); done

clang: ## the pinned compiler of BPF programs
	@command -v clang-19 llvm-strip-19 >/dev/null && test -e /usr/include/bpf/bpf_helpers.h || { echo "installing clang-19 llvm-19 libbpf-dev"; \
		(apt-get install -y -qq --no-install-recommends clang-19 llvm-19 libbpf-dev || \
		(apt-get update -qq && apt-get install -y -qq --no-install-recommends clang-19 llvm-19 libbpf-dev)) >/dev/null; }

clean: ## remove what was built and cached
	rm -rf acc demo.acc .vm-cache
