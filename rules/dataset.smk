# From raw files to H5 files, the feature map and the data page.


checkpoint sample:
    input:
        raw_files=local_files(RAW.train),
    output:
        # Listed first: Snakemake checks only the first output of a checkpoint.
        parts="data/samples/{size}.json",
        selection="data/samples/{size}.parquet",
    log:
        "data/samples/{size}.log",
    conda:
        "../envs/data.yaml"
    params:
        **setting_params(
            **raw_params(raw=RAW.train),
            delimiter=TABLE["raw"]["delimiter"],
            label=TABLE["columns"]["label"],
            rows=lookup(dpath="sizes/{size}/rows", within=config),
            part_rows=config["parts"]["rows"],
            sampling=sampling_of(config),
        ),
        code=code("sample"),
    message:
        "Drawing the rows of size {wildcards.size}"
    script:
        "../scripts/sample.py"


rule convert_train:
    input:
        raw_files=part_raw_files(RAW.train),
        # `ancient` ignores file times; a part runs again if its version changes.
        selection=ancient("data/samples/{size}.parquet"),
        parts=ancient("data/samples/{size}.json"),
    output:
        train="data/h5/{size}/train/part{part}.h5",
        valid="data/h5/{size}/valid/part{part}.h5",
    log:
        "data/h5/{size}/train/part{part}.log",
    conda:
        "../envs/data.yaml"
    params:
        **setting_params(**part_params(RAW.train)),
        **column_params("label"),
        code=code("convert_train"),
    message:
        "Converting part {wildcards.part} of the train table to H5, size {wildcards.size}"
    script:
        "../scripts/convert_train.py"


checkpoint list_parts:
    input:
        # The sample submission is no input of `train`, so adding it later retrains no model.
        raw_files=local_files(RAW.test, RAW.sample_submission),
    output:
        parts="data/h5/test/parts.json",
    log:
        "data/h5/test/list_parts.log",
    # Runs first, to report a wrong sample submission before days of training.
    priority: 100
    conda:
        "../envs/data.yaml"
    threads: 2
    params:
        **setting_params(
            **raw_params(raw=RAW.test, sample_submission=RAW.sample_submission),
            delimiter=TABLE["raw"]["delimiter"],
            **config["parts"],
        ),
        **column_params("id"),
        code=code("list_parts"),
    message:
        "Listing the parts of the test table"
    script:
        "../scripts/list_parts.py"


rule convert_test:
    input:
        raw_files=part_raw_files(RAW.test),
        parts=ancient("data/h5/test/parts.json"),
    output:
        h5="data/h5/test/part{part}.h5",
    log:
        "data/h5/test/part{part}.log",
    priority: 1
    conda:
        "../envs/data.yaml"
    params:
        **setting_params(**part_params(RAW.test)),
        **column_params("id"),
        code=code("convert_test"),
    message:
        "Converting part {wildcards.part} of the test table to H5"
    script:
        "../scripts/convert_test.py"


rule fit_feature_map:
    input:
        train=train_parts,
    output:
        feature_map="data/h5/{size}/feature_map.json",
    log:
        "data/h5/{size}/fit_feature_map.log",
    conda:
        "../envs/baseline.yaml"
    params:
        **setting_params(min_count=lookup(dpath="sizes/{size}/min_count", within=config)),
        **column_params("shared", "ids"),
        code=code("fit_feature_map"),
    message:
        "Fitting the feature map of size {wildcards.size}"
    script:
        "../scripts/fit_feature_map.py"


use rule fit_feature_map as fit_feature_map_to_all with:
    input:
        train=train_parts,
        valid=valid_parts,
    output:
        feature_map="data/h5/{size}/all_rows/feature_map.json",
    log:
        "data/h5/{size}/all_rows/fit_feature_map.log",
    message:
        "Fitting the feature map of all rows, size {wildcards.size}"


# If a checkpoint's output is missing, Snakemake ignores changed params of dependent jobs.
for size in config["sizes"] if workflow.is_main_process else ():
    listing = f"data/samples/{size}.json"
    if Path(f"data/h5/{size}/feature_map.json").exists() and not Path(listing).exists():
        logger.warning(
            f"{listing} is missing: it was deleted, or its step failed. Without it, Snakemake "
            f"keeps outdated metrics and plots of size {size}; add {listing} to the targets"
        )


rule describe:
    input:
        train=train_parts,
        valid=valid_parts,
        test=test_parts,
        feature_map=rules.fit_feature_map.output.feature_map,
    output:
        facts="results/{size}/data.json",
        page="results/{size}/data.md",
        view=report(
            "results/{size}/data.html",
            caption="captions/data.rst",
            category="Data",
            subcategory="{size}",
            labels={"plot": "page"},
        ),
        plots=[
            plot(f"results/{{size}}/plots/{name}.svg", "Data", "{size}")
            for name in ("drift", "click_rates")
        ],
    log:
        "results/{size}/describe.log",
    # Runs early, to show alarms before hours of training.
    priority: 1
    conda:
        "../envs/report.yaml"
    threads: 2
    params:
        **setting_params(label=COLUMNS.label),
        **setting_params(dependencies=dependency_digest("list_parts", "convert_test", test=True)),
        code=code("describe"),
    message:
        "Describing the data of size {wildcards.size}"
    script:
        "../scripts/describe.py"
